"""What schemathesis asks of the bridge beyond its own checks. Loaded by it (SCHEMATHESIS_HOOKS), not run by itself."""

from urllib.parse import unquote

import schemathesis

CONVERSATION = "/v1/conversations/{conversation_id}"
# The conversations of the one frontend under test that exist, and those that were erased and not begun anew, over the whole run:
# requests are made one after the other.
begun, erased = set(), set()


@schemathesis.hook
def map_query(context, query):
    """A cursor is what the log gave: nobody can make one up, and the tests of the bridge refuse those that somebody did."""
    if query and "after" in query and context.operation.path == "/v1/events":
        return {name: value for name, value in query.items() if name != "after"}
    return query


@schemathesis.check
def erased_stays_erased(ctx, response, case):
    """Nobody finds a conversation that was erased, until a message begins it anew; and nobody finds one that never began."""
    if not 200 <= response.status_code < 300:
        return
    method = case.method.upper()
    if (method, case.operation.path) == ("POST", "/v1/messages"):
        conversation = response.json()["conversation_id"]
        begun.add(conversation)
        erased.discard(conversation)
    elif case.operation.path.startswith(CONVERSATION):
        conversation = unquote(str((case.path_parameters or {}).get("conversation_id")))
        if method == "DELETE":
            begun.discard(conversation)
            erased.add(conversation)
        elif method == "GET":
            assert conversation not in erased, f"{conversation} was erased, and is found"
            assert conversation in begun, f"{conversation} was never begun, and is found"
