"""The log catalogue: as deploy/README.md tells it, and as the source code has it."""

import re
from typing import NamedTuple

from facts import ROOT

# On every line, and what the spans around an event add to it.
ALWAYS = {"timestamp", "level", "target", "message", "request_id", "trace_id", "frontend", "conversation_id", "interaction_id", "message_id", "attempt", "reason", "replica", "delivery_id", "type"}


class Entry(NamedTuple):
    levels: set
    fields: set


def catalogue():
    """message -> Entry, from the table under "Log catalogue"."""
    section = (ROOT / "deploy/README.md").read_text().split("## Log catalogue", 1)[1].split("\n## ", 1)[0]
    found = {}
    for row in re.findall(r"^\| `.*\|$", section, re.M):
        message, levels, fields = (cell.strip() for cell in row.split("|")[1:4])
        found[message.strip("`")] = Entry(set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields)))
    return found




def in_source():
    """message -> levels, of every event that the program can print at the levels operators use."""
    found = {}
    for path in sorted((ROOT / "src").rglob("*.rs")):
        text = re.sub(r"(?m)^\s*//.*$", "", path.read_text())
        if "tests" in path.parts or path.name == "tests.rs":
            continue
        text = text.split("#[cfg(test)]\nmod tests {", 1)[0]
        for at in re.finditer(r"tracing::(error|warn|info|debug|trace)!\(", text):
            body = arguments(text[at.end():])
            messages = [piece for piece in split(body) if piece.startswith('"')]
            if messages:
                found.setdefault(messages[-1].strip('"'), set()).add(at[1].upper())
        for message in re.findall(r'message: "([^"]+)"\.to_owned\(\)', text) if "telemetry" in path.parts else []:
            found.setdefault(message, set())
    return {message: levels for message, levels in found.items()}


def arguments(text):
    """What stands before the bracket that closes the macro."""
    depth, quoted = 1, False
    for place, char in enumerate(text):
        if char == '"' and text[place - 1] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += char in "([{"
            depth -= char in ")]}"
            if depth == 0:
                return text[:place]
    return text


def split(body):
    """The arguments of a macro, cut at commas outside of brackets and quotes."""
    pieces, depth, quoted, current = [], 0, False, ""
    for place, char in enumerate(body):
        if char == '"' and body[place - 1] != "\\":
            quoted = not quoted
        if not quoted:
            depth += char in "([{"
            depth -= char in ")]}"
        if char == "," and depth == 0 and not quoted:
            pieces.append(current.strip())
            current = ""
        else:
            current += char
    return [piece for piece in [*pieces, current.strip()] if piece]
