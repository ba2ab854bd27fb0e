"""Refused requests and good ones in turn, by one pool of connections of each common Python client. Prints a line of JSON each.

    python refused.py BASE TOKEN ROUNDS
"""

import asyncio
import http.client
import json
import sys
from urllib.parse import urlsplit

import aiohttp
import httpx
import requests

BASE, TOKEN, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
GOOD = {"authorization": f"Bearer {TOKEN}"}
BAD = {"authorization": "Bearer " + "x" * 40}
JSON = {"content-type": "application/json"}
# (status, method, path, headers, bytes of the body, whether it is sent in chunks)
REFUSALS = [
    (401, "POST", "/v1/messages", BAD | JSON, 53, False),
    (401, "POST", "/v1/messages", BAD | JSON, 200_000, False),
    (401, "POST", "/v1/messages", BAD | JSON, 53, True),
    (401, "POST", "/v1/messages", BAD | JSON, 200_000, True),
    (404, "POST", "/v1/nothing", GOOD | JSON, 53, False),
    (405, "PUT", "/v1/messages", GOOD | JSON, 60_000, False),
    (413, "POST", "/v1/messages", GOOD | JSON, 400_000, False),
    (413, "POST", "/v1/messages", GOOD | JSON, 400_000, True),
    (415, "POST", "/v1/messages", GOOD | {"content-type": "text/plain"}, 53, False),
    (400, "POST", "/v1/messages", GOOD | JSON, 53, False),
]


class Count:
    def __init__(self, client):
        self.client, self.good, self.refused, self.failed = client, 0, 0, []

    def refusal(self, wanted, what, status):
        self.refused += 1
        if status != wanted:
            self.failed.append(f"refused {what}: {status}")

    def next(self, what, status):
        self.good += 1
        if status != 200:
            self.failed.append(f"good after {what}: {status}")

    def tell(self):
        print(json.dumps(vars(self)), flush=True)


def chunks(size):
    for _ in range(0, size, 16_384):
        yield b"x" * min(16_384, size)


async def achunks(size):
    for chunk in chunks(size):
        yield chunk


def seen(ask):
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 every failure counts
        return repr(error)


def each(count, send):
    for _ in range(ROUNDS):
        for status, method, path, headers, size, chunked in REFUSALS:
            what = f"{method} {path} {status}, {size} bytes{' in chunks' if chunked else ''}"
            body = chunks(size) if chunked else b"x" * size
            count.refusal(status, what, seen(lambda: send(method, path, headers, body)))
            count.next(what, seen(lambda: send("GET", "/healthz", {}, None)))
    count.tell()


def by_http_client():
    url = urlsplit(BASE)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)

    def send(method, path, headers, body):
        connection.request(method, path, body, headers, encode_chunked=not isinstance(body, (bytes, type(None))))
        response = connection.getresponse()
        response.read()
        return response.status

    each(Count("Python http.client"), send)


def by_requests():
    session = requests.Session()
    each(Count("requests"), lambda method, path, headers, body: session.request(method, BASE + path, headers=headers, data=body, timeout=20).status_code)


def by_httpx():
    with httpx.Client(base_url=BASE, timeout=20) as client:
        each(Count("httpx"), lambda method, path, headers, body: client.request(method, path, headers=headers, content=body).status_code)


async def by_aiohttp():
    count = Count("aiohttp")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        async def send(method, path, headers, body):
            try:
                async with session.request(method, BASE + path, headers=headers, data=body) as response:
                    await response.read()
                    return response.status
            except Exception as error:  # noqa: BLE001 every failure counts
                return repr(error)

        for _ in range(ROUNDS):
            for status, method, path, headers, size, chunked in REFUSALS:
                what = f"{method} {path} {status}, {size} bytes{' in chunks' if chunked else ''}"
                count.refusal(status, what, await send(method, path, headers, achunks(size) if chunked else b"x" * size))
                count.next(what, await send("GET", "/healthz", {}, None))
    count.tell()


by_http_client()
by_requests()
by_httpx()
asyncio.run(by_aiohttp())
