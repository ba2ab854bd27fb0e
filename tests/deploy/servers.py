"""A load of messages whose fate is known, and a PostgreSQL server of our own."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from live import call


class Load:
    """Posts messages without pause from several threads and notes which were accepted."""

    def __init__(self, bridges, threads=4, name="load"):
        self.accepted, self.refused, self.ending = {}, [], threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(bridges, f"{name}-{n}"), daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, bridges, name):
        number = 0
        while not self.ending.is_set():
            number += 1
            bridge = bridges()
            message = f"{name}-m{number}"
            try:
                status, body, _ = bridge.post(name, f"text of {message}", message, timeout=10)
            except OSError as error:
                self.refused.append(f"{message}: {type(error).__name__}")
                time.sleep(0.05)
                continue
            if status in (200, 202):
                self.accepted[message] = name
            else:
                self.refused.append(f"{message}: {status} {body}")
                time.sleep(0.05)

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(30)


def own(feed):
    """The ids of what the frontend itself posted."""
    return [e["data"]["message"]["id"] for e in feed if e["type"] == "message.created" and e["data"]["origin"] == "frontend"]


def complete(tally, what, load, bridge, before=None):
    """Every message accepted (before a moment) is in its feed, once, and feeds have no gaps."""
    wanted = before if before is not None else dict(load.accepted)
    feeds = {name: [] for name in set(wanted.values())}
    for name in feeds:
        after = 0
        while True:
            page = call(bridge.public, "GET", f"/v1/conversations/{name}/events?limit=500&after={after}", token=bridge.world.token)[1]
            feeds[name] += page["events"]
            after = page["events"][-1]["sequence"] if page["events"] else after
            if not page["has_more"]:
                break
    missing = [m for m, name in wanted.items() if m not in set(own(feeds[name]))]
    twice = [m for feed in feeds.values() for m in set(own(feed)) if own(feed).count(m) > 1]
    gaps = [name for name, feed in feeds.items() if [e["sequence"] for e in feed] != list(range(1, len(feed) + 1))]
    tally.check(f"{what}: all {len(wanted)} accepted messages are there, once, without gaps", wanted and not (missing or twice or gaps), (missing[:3], twice[:3], gaps))


class Postgres:
    """A server of our own in a temporary folder, on a socket and a free port of loopback.

    Without `durable` it does not wait for the disk, which stands still for seconds while images are built beside a test."""

    def __init__(self, durable=True):
        self.options = "" if durable else " -c fsync=off"

    def __enter__(self):
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = Path(shutil.which("initdb") or f"{programs[-1]}/initdb").resolve().parent
        self.folder = Path(tempfile.mkdtemp(prefix="fini-bridge-pg."))
        self.run_as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        if self.run_as:
            shutil.chown(self.folder, "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.tool("initdb", "-D", self.folder / "data", "-U", "bridge", "-A", "trust", "--no-sync")
        self.tool("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o",
                  f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1{self.options}", "start")
        return self

    def tool(self, name, *arguments, **more):
        command = [*self.run_as, self.bin / name, *map(str, arguments)]
        # A server that stays would keep a pipe open for ever.
        with (tempfile.TemporaryFile("w+")) as out:
            done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False, cwd="/", **more)
            out.seek(0)
            assert done.returncode == 0, out.read()

    def connect(self):
        return ["-h", "127.0.0.1", "-p", self.port, "-U", "bridge"]

    def url(self, database):
        return f"postgres://bridge@127.0.0.1:{self.port}/{database}"

    def __exit__(self, *_):
        self.tool("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)
