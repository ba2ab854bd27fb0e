"""Runs the real program: the sandbox, bridges wired to it, and a receiver whose answers a test decides.

Everything listens on a free port of loopback. Waiting is for conditions, with a deadline, never for a while.
"""

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from facts import ROOT

BINARY = os.environ.get("FINI_BRIDGE_BINARY", str(ROOT / "target/debug/fini-bridge"))
BOT = "4f5ef695-d03b-4d56-8fef-7f2bd5c17ef3"
KEY = "fini_sandbox"


def wait(condition, what, seconds=30, every=0.05):
    """The first true answer of `condition`; fails when it does not come in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(every)
    raise AssertionError(f"waited {seconds} s for: {what}")


def call(base, method, path, body=None, token=None, headers=None, timeout=20):
    """(status, parsed body, headers) of one request."""
    url = urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
    sent = dict(headers or {})
    if token:
        sent["authorization"] = f"Bearer {token}"
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("content-type", "application/json")
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        raw = response.read()
    finally:
        connection.close()
    try:
        parsed = json.loads(raw) if raw else None
    except ValueError:
        parsed = raw.decode(errors="replace")
    return response.status, parsed, dict(response.headers)


class Receiver:
    """A frontend's callback endpoint. `answer` is the status of the next callbacks, or a function of the event."""

    def __init__(self):
        self.calls, self.answer, self.delay, self.begun = [], 204, 0, 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                event = json.loads(raw)
                receiver.begun += 1
                time.sleep(receiver.delay)
                status = receiver.answer(event) if callable(receiver.answer) else receiver.answer
                receiver.calls.append((status, dict(self.headers), raw, event))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                # A bridge that is killed leaves its connections in the middle; that is what some tests are about.
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/callback"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self):
        """The events answered 2xx, as sent."""
        return [event for status, _, _, event in list(self.calls) if 200 <= status < 300]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Process:
    """A child with its output in a file. Ended by its own handle, never by name."""

    def __init__(self, arguments, env, output, stdin=None):
        self.output = Path(output)
        with self.output.open("ab") as out:
            clean = {"PATH": os.environ["PATH"], "RUST_BACKTRACE": "0"}
            self.child = subprocess.Popen([BINARY, *arguments], env=clean | env, stdin=stdin, stdout=out, stderr=subprocess.STDOUT, cwd=self.output.parent)

    def stop(self, how=signal.SIGTERM, seconds=60):
        if self.child.poll() is None:
            self.child.send_signal(how)
        return self.child.wait(seconds)

    def lines(self):
        """Everything printed so far, one parsed object per line; what is no object comes as {"unparsed": …}."""
        for line in self.output.read_text(errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"unparsed": line}


class World(contextlib.ExitStack):
    """A folder, a sandbox, a receiver, and as many bridges as wanted."""

    def __init__(self, unlimited=True, latency="0ms"):
        super().__init__()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="fini-bridge-test.")))
        arguments = ["sandbox", "--listen", "127.0.0.1:0", "--reply-latency", latency] + (["--unlimited"] if unlimited else [])
        self.sandbox_process = Process(arguments, {}, self.folder / "sandbox.out")
        self.callback(self.sandbox_process.stop)
        self.sandbox = wait(self._sandbox_address, "the sandbox's address")
        self.receiver = Receiver()
        self.callback(self.receiver.close)
        # Made up anew each time, and planted: none of them may turn up in a log.
        self.token, self.admin_token = ("tok" + secrets.token_hex(20) for _ in range(2))
        self.secret = subprocess.run([BINARY, "secret"], check=True, capture_output=True, text=True).stdout.strip()

    def _sandbox_address(self):
        lines = self.sandbox_process.output.read_text().split()
        return next((word for word in lines if word.startswith("http://127.0.0.1:")), None)

    def fault(self, **fields):
        status, body, _ = call(self.sandbox, "POST", "/_sandbox/faults", fields)
        assert status == 201, body

    def heal(self):
        call(self.sandbox, "DELETE", "/_sandbox/faults")

    def upstream(self, limit=1000):
        """Every conversation the sandbox has."""
        return call(self.sandbox, "GET", f"/_sandbox/conversations?limit={limit}")[1]["conversations"]

    def settings(self):
        """The configuration of a bridge in this world, as sections."""
        return {
            "server": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0", "token": self.admin_token},
            "store": {"url": f"sqlite://{self.folder}/bridge.db"},
            "fini": {"base_url": self.sandbox, "api_key": KEY, "rate_limit": {"requests": 100000, "window": "60s"}},
            "poll": {"sweep_interval": "250ms"},
            "delivery": {"allow_http": True, "allow_networks": ["127.0.0.0/8"], "timeout": "2s", "retry_schedule": ["200ms"] * 8},
        }

    def frontend(self, **more):
        return {"name": "web", "bot_id": BOT, "tokens": [self.token], "callback_url": self.receiver.url, "callback_secrets": [self.secret]} | more

    def bridge(self, name="bridge", frontends=None, **changes):
        """Starts a bridge; `changes` are laid over the sections of `settings`."""
        sections = self.settings()
        for section, values in changes.items():
            sections.setdefault(section, {}).update(values)
        return self.adopt(Bridge(self, name, sections, frontends or [self.frontend()]))

    def adopt(self, bridge):
        self.callback(bridge.stop)
        wait(bridge.started, f"the start of {bridge.output}")
        return bridge


def toml(value):
    """One value as TOML writes it; tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


class Bridge(Process):
    def __init__(self, world, name, sections, frontends, stdin=None):
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{key} = {toml(value)}" for key, value in values.items())]
        for frontend in frontends:
            lines += ["[[frontends]]", *(f"{key} = {toml(value)}" for key, value in frontend.items())]
        self.config = world.folder / f"{name}.toml"
        self.config.write_text("\n".join(lines) + "\n")
        self.world, self.addresses = world, {}
        self.skip = len((world.folder / f"{name}.out").read_text()) if (world.folder / f"{name}.out").exists() else 0
        super().__init__(["serve", "--config", str(self.config)], {}, world.folder / f"{name}.out", stdin)

    def started(self):
        """Whether both listeners are open, as the log says."""
        assert self.child.poll() is None, self.output.read_text()[self.skip:]
        for line in self.output.read_text()[self.skip:].splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("message") == "listening":
                    self.addresses[entry["listener"]] = "http://" + entry["address"]
        return len(self.addresses) == 2

    @property
    def public(self):
        return self.addresses["public"]

    @property
    def admin(self):
        return self.addresses["admin"]

    def post(self, conversation, text, message=None, **more):
        body = {"conversation_id": conversation, "text": text} | ({"message_id": message} if message else {})
        return call(self.public, "POST", "/v1/messages", body | more.pop("body", {}), token=more.pop("token", self.world.token), **more)

    def events(self, conversation, token=None):
        return call(self.public, "GET", f"/v1/conversations/{conversation}/events?limit=500", token=token or self.world.token)[1].get("events", [])

    def operate(self, method, path, body=None):
        return call(self.admin, method, f"/admin/v1/{path}", body, token=self.world.admin_token)

    def metrics(self):
        return call(self.admin, "GET", "/metrics")[1]

    def figure(self, name, **labels):
        """The value of one series, 0 where there is none."""
        for line in self.metrics().splitlines():
            head, _, value = line.rpartition(" ")
            if head.split("{")[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
                return float(value)
        return 0.0

    def settled(self, conversation, turns=1):
        """Waits until so many turns of a conversation have ended."""
        ends = ("turn.completed", "turn.failed")
        return wait(lambda: sum(e["type"] in ends for e in self.events(conversation)) >= turns, f"{turns} turns of {conversation}", 60)


class Tally:
    """Counts checks and prints them as they come."""

    def __init__(self, name):
        self.name, self.passed, self.failed = name, 0, 0

    def check(self, what, right, detail=""):
        self.passed, self.failed = self.passed + bool(right), self.failed + (not right)
        print(f"{'ok' if right else 'not ok'}: {what}" + (f"\n    {detail}" if not right and detail else ""), flush=True)

    def close(self):
        print(f"{self.name}: {self.passed} passed, {self.failed} failed", flush=True)
        return self.failed > 0
