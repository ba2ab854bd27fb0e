"""Readers of an event stream as Python's libraries make them, each cut off once and then resuming by itself.

    python streams.py BASE TOKEN LAST < CUTS

Prints a line of JSON for each reader: its name, and for each cut the numbers of the events that it was given.
"""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import httpx
import httpx_sse
import requests
import sseclient

BASE, TOKEN, LAST = sys.argv[1], sys.argv[2], int(sys.argv[3])
CUTS = json.load(sys.stdin)
TRIES = 5


def headers(position):
    sent = {"authorization": f"Bearer {TOKEN}", "accept": "text/event-stream"}
    return sent | ({"last-event-id": position} if position else {})


def number(data):
    return json.loads(data).get("sequence")


class Lines:
    """What a reader by hand does: an event counts at its blank line, and its id with it."""

    def __init__(self):
        self.position, self.fields = "", {}

    def take(self, line):
        """The data of the event that this line ends, if it ends one."""
        name, _, value = line.partition(":")
        if line:
            self.fields[name] = value.removeprefix(" ")
            return None
        fields, self.fields = self.fields, {}
        self.position = fields.get("id", self.position)
        return fields.get("data")


def by_requests(cut):
    lines, told = Lines(), []
    for _ in range(TRIES):
        lines.fields = {}
        try:
            with requests.get(f"{BASE}/requests/{cut}", headers=headers(lines.position), stream=True, timeout=20) as response:
                for line in response.iter_lines():
                    data = lines.take(line.decode())
                    if data is not None and (found := number(data)):
                        told.append(found)
                        if found == LAST:
                            return told
        except requests.RequestException:
            pass
    return told


def by_sseclient(cut):
    position, told = "", []
    for _ in range(TRIES):
        try:
            with requests.get(f"{BASE}/sseclient-py/{cut}", headers=headers(position), stream=True, timeout=20) as response:
                for event in sseclient.SSEClient(response).events():
                    position = event.id or position
                    if found := number(event.data):
                        told.append(found)
                        if found == LAST:
                            return told
        except requests.RequestException:
            pass
    return told


async def by_httpx_sse(client, cut):
    position, told = "", []
    for _ in range(TRIES):
        try:
            async with httpx_sse.aconnect_sse(client, "GET", f"{BASE}/httpx-sse/{cut}", headers=headers(position)) as source:
                async for event in source.aiter_sse():
                    position = event.id or position
                    if found := number(event.data):
                        told.append(found)
                        if found == LAST:
                            return told
        except httpx.TransportError:
            pass
    return told


async def by_aiohttp(session, cut):
    lines, told = Lines(), []
    for _ in range(TRIES):
        lines.fields = {}
        try:
            async with session.get(f"{BASE}/aiohttp/{cut}", headers=headers(lines.position)) as response:
                async for line in response.content:
                    if not line.endswith(b"\n"):
                        break
                    data = lines.take(line.decode().rstrip("\n"))
                    if data is not None and (found := number(data)):
                        told.append(found)
                        if found == LAST:
                            return told
        except aiohttp.ClientError:
            pass
    return told


def tell(name, told):
    print(json.dumps({"reader": name, "told": dict(zip(map(str, CUTS), told, strict=True))}), flush=True)


async def at_once(read):
    room = asyncio.Semaphore(40)

    async def one(cut):
        async with room:
            return await read(cut)

    return await asyncio.gather(*map(one, CUTS))


async def main():
    async with httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_connections=60)) as client:
        tell("httpx-sse", await at_once(lambda cut: by_httpx_sse(client, cut)))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        tell("aiohttp", await at_once(lambda cut: by_aiohttp(session, cut)))


with ThreadPoolExecutor(40) as threads:
    tell("requests", list(threads.map(by_requests, CUTS)))
    tell("sseclient-py", list(threads.map(by_sseclient, CUTS)))
asyncio.run(main())
