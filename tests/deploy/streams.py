"""Event streams as a proxy shows them, and ports for the proxy."""

import contextlib
import http.client
import socket
import threading
from urllib.parse import urlsplit


def free_ports(count):
    """So many ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as open_ones:
        probes = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Stream:
    """One event stream, read by a thread of its own. `ended` says how: "" while open, "cleanly", or what broke."""

    def __init__(self, base, conversation, token, after=None):
        url = urlsplit(base)
        self.numbers, self.types, self.heartbeats, self.ended, self.status = [], [], 0, "", None
        self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        headers = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
        if after is not None:
            headers["last-event-id"] = str(after)
        self.connection.request("GET", f"/v1/conversations/{conversation}/stream", headers=headers)
        self.socket = self.connection.sock
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            response = self.connection.getresponse()
            self.status, self.type = response.status, response.headers["content-type"]
            while line := response.readline():
                if line.startswith(b"id: "):
                    self.numbers.append(int(line[4:]))
                elif line.startswith(b"event: "):
                    self.types.append(line[7:].decode().strip())
                elif line.startswith(b":"):
                    self.heartbeats += 1
            self.ended = "cleanly"
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.ended = repr(error)

    def turns(self):
        return self.types.count("turn.completed")

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


def upto(numbers, first=1):
    return numbers and numbers == list(range(first, first + len(numbers)))
