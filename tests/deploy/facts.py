"""What the program says of itself, read from its sources: what manifests are held against."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Facts:
    """What the program itself says: its routes, its configuration keys, its version."""

    def __init__(self):
        sources = [path.read_text() for path in (ROOT / "src/http").rglob("*.rs")]
        self.routes = {route for text in sources for route in re.findall(r'\.route\(\s*"([^"]+)"', text)}
        admin = "\n".join(text for text in sources if "fn readyz" in text)
        self.checks = set(re.findall(r'^\s+"(\w+)":', admin.split("fn readyz", 1)[1].split("fn encode", 1)[0], re.M))
        self.defaults = tomllib.loads((ROOT / "config/default.toml").read_text())
        self.keys = documented_keys((ROOT / "config/default.toml").read_text())
        self.version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def documented_keys(text):
    """`section.key` of every key that config/default.toml sets or shows in a comment; lists of tables as `frontends.key`."""
    keys, section = set(), ""
    for line in text.splitlines():
        if table := re.match(r"(?:# )?\[\[?(\w+)\]\]?$", line):
            section = table[1]
        elif key := re.match(r"(?:#\s?)?([a-z_]+) = ", line):
            keys.add(f"{section}.{key[1]}")
    return keys


def seconds(text):
    """A duration as the configuration writes it."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
