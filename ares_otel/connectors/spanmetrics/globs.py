"""Attributes that are named by a pattern: `k8s.*.name`.

Source: opentelemetry-collector-contrib, connector/spanmetricsconnector, README: a glob in which "." separates. `*` is
anything but a dot, `**` anything, `?` one character but a dot, `[a-z]` one of these, `[!a-z]` one of the others,
`{a,b}` one or the other; a backslash takes the next character as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import re2

KNOWN_NAMES = 4096
"""Names whose answer is remembered; they are a sender's, so that there may be any number."""
KNOWN_LENGTH = 255
"""Characters of a name that is remembered."""


def expression(glob: str) -> str:
    """The regular expression of a glob, in RE2's syntax.

    Raises:
        ValueError: a bracket or brace is not closed, or a backslash ends it.
    """
    made, at, braces = [], 0, 0
    while at < len(glob):
        character = glob[at]
        at += 1
        if character == "*":
            many = glob[at : at + 1] == "*"
            while glob[at : at + 1] == "*":
                at += 1
            made.append(".*" if many else "[^.]*")
        elif character == "?":
            made.append("[^.]")
        elif character == "[":
            end = glob.find("]", at + 1)
            if end < 0:
                raise ValueError(f"the glob {glob!r} has a [ without a ]")
            made.append(_class(glob[at:end]))
            at = end + 1
        elif character == "{":
            braces += 1
            made.append("(?:")
        elif character == "}" and braces:
            braces -= 1
            made.append(")")
        elif character == "," and braces:
            made.append("|")
        elif character == "\\":
            if at == len(glob):
                raise ValueError(f"the glob {glob!r} ends with a backslash; write two of them for one")
            made.append(re2.escape(glob[at]))
            at += 1
        else:
            made.append(re2.escape(character))
    if braces:
        raise ValueError(f"the glob {glob!r} has a {{ without a }}")
    return "".join(made)


def _class(inside: str) -> str:
    negated = inside.startswith("!")
    content = "".join(one if one == "-" else re2.escape(one) for one in inside[negated:])
    return f"[{'^' if negated else ''}{content}]"


class Globs:
    """Names that one of some patterns matches."""

    __slots__ = ("_compiled", "_known")

    def __init__(self, globs: Iterable[str]) -> None:
        """
        Raises:
            ValueError: one is not a glob.
        """
        options = re2.Options()
        options.log_errors = False
        options.dot_nl = True
        self._compiled = []
        for glob in globs:
            try:
                self._compiled.append(re2.compile(expression(glob), options))
            except re2.error:
                raise ValueError(f"{glob!r} is not a glob: write for example k8s.*.name or db.**") from None
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def match(self, name: str) -> bool:
        """Whether one of them matches the whole name."""
        known = self._known.get(name)
        if known is None:
            known = any(one.fullmatch(name) is not None for one in self._compiled)
            if len(self._known) >= KNOWN_NAMES:
                self._known.clear()
            if len(name) <= KNOWN_LENGTH:
                self._known[name] = known
        return known
