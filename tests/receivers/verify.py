#!/usr/bin/env python3
"""Verifies one callback with nothing but the standard library.

    verify.py HEADERS_FILE BODY_FILE SECRET_FILE     exit 0: genuine, 1: not

Take `verify` into your own receiver: give it the raw bytes of the body, before any JSON parser has seen them.
"""

import base64
import hashlib
import hmac
import sys
import time

TOLERANCE_SECONDS = 300


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether `body` was signed with `secret` in the last five minutes. Header names in lower case."""
    try:
        message_id = headers["webhook-id"]
        timestamp = headers["webhook-timestamp"]
        signatures = headers["webhook-signature"]
        signed_at = int(timestamp)
    except (KeyError, ValueError):
        return False
    if abs(time.time() - signed_at) > TOLERANCE_SECONDS:
        return False

    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    content = f"{message_id}.{timestamp}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())

    # While secrets are rotated there is one signature per secret; one that fits is enough.
    genuine = False
    for entry in signatures.split(" "):
        version, _, value = entry.partition(",")
        if version == "v1":
            genuine |= hmac.compare_digest(value.encode(), expected)
    return genuine


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
