"""What schemathesis asks of the bridge beyond its own checks. Loaded by it (SCHEMATHESIS_HOOKS), not run by itself."""

from urllib.parse import unquote

import schemathesis

CONVERSATION = "/v1/conversations/{conversation_id}"
# The conversations of the one frontend under test that exist, and those that were erased and not begun anew, over the whole run:
# requests are made one after the other.
begun, erased = set(), set()


CURSORS = {"/v1/events": "after", "/v1/users/{user_id}/conversations": "cursor"}


@schemathesis.hook
def before_call(context, case, kwargs):
    """What the document cannot say: a cursor is what a page gave, which nobody can make up; and who has an agent is one. What is
    refused of both is shown by the tests of the bridge."""
    cursor = CURSORS.get(case.operation.path)
    if case.query and cursor in case.query:
        case.query = {name: value for name, value in case.query.items() if name != cursor}
    if case.operation.path == "/v1/messages" and isinstance(case.body, dict) and case.body.get("agent") is not None:
        if case.body.get("role") in (None, "user", "otherbot"):
            case.body = case.body | {"role": "agent"}


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
