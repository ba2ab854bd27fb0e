#!/usr/bin/env python3
"""Verifies one callback with the library of Standard Webhooks (`pip install standardwebhooks`).

    verify_library.py HEADERS_FILE BODY_FILE SECRET_FILE     exit 0: genuine, 1: not
"""

import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether `body` was signed with `secret` in the last five minutes. Header names in lower case."""
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    headers_file, body_file, secret_file = sys.argv[1:]
    headers = {}
    with open(headers_file, encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
    with open(body_file, "rb") as file:
        body = file.read()
    with open(secret_file, encoding="utf-8") as file:
        secret = file.read().strip()
    return 0 if verify(secret, headers, body) else 1


if __name__ == "__main__":
    sys.exit(main())
