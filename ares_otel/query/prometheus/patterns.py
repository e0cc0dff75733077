"""What can be told of a regular expression without trying it on every value: most of those that dashboards send are a
list of texts, or begin with one."""

from __future__ import annotations

import re
from collections.abc import Iterator

ANYTHING = ("", ".*", "(.*)", "^.*$")
SOMETHING = (".+", "(.+)", "^.+$")
_META = frozenset(r".+*?()[]{}|^$")
_OPTIONAL = frozenset("*?{")
_TOKEN = re.compile(r"\\[^a-zA-Z0-9]|\\.?|.", re.DOTALL | re.ASCII)


def alternatives(pattern: str) -> list[str] | None:
    """The texts that match, where the expression is a list of them: `a|b`, `(a|b\\.c)`. None for any other."""
    inner = pattern[1:-1] if pattern.startswith("(") and pattern.endswith(")") else pattern
    found = [""]
    for text, meta in _tokens(inner):
        if meta == "|":
            found.append("")
        elif meta:
            return None
        else:
            found[-1] += text
    return found


def prefix(pattern: str) -> str:
    """A text with which every value begins that matches; empty where none is known."""
    if "|" in pattern:
        return ""
    found: list[str] = []
    for text, meta in _tokens(pattern):
        if meta in _OPTIONAL and found:
            found.pop()  # it may be there no time
        if meta:
            break
        found.append(text)
    return "".join(found)


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """Each character that stands for itself, or what does not: text and meta, one of which is empty."""
    for token in _TOKEN.findall(pattern):
        if token[0] == "\\":
            literal = len(token) == 2 and not token[1].isalnum()
            yield (token[1], "") if literal else ("", token)
        elif token in _META:
            yield "", token
        else:
            yield token, ""
