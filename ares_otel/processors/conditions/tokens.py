"""From the text of a condition to its tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MAX_LENGTH = 4096
"""Characters of a condition."""

Kind = Literal["string", "int", "float", "bytes", "name", "operator", "end"]

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<bytes>0x[0-9a-fA-F]*)
    | (?P<float>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    | (?P<int>[0-9]+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>==|!=|<=|>=|[<>()\[\],.+\-*/])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class ConditionError(ValueError):
    """A condition that cannot be understood. `position` counts characters from 1."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"Position {position}: {message}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a condition; `text` of a string is what it means, without quotes and escapes."""

    kind: Kind
    text: str
    position: int


def tokenize(text: str) -> list[Token]:
    """All tokens, with one of kind `end` as the last.

    Raises:
        ConditionError: a character that begins nothing, a string without its end, or a text that is too long.
    """
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"the condition is longer than {MAX_LENGTH} characters.", MAX_LENGTH)
    tokens: list[Token] = []
    index = 0
    while index < len(text):
        found = _TOKEN.match(text, index)
        if found is None:
            hint = " (the string has no end)" if text[index] == '"' else ""
            hint = ' (texts stand in double quotes: "text")' if text[index] == "'" else hint
            raise ConditionError(f"{text[index]!r} is not expected here{hint}.", index + 1)
        kind, content = found.lastgroup, found[0]
        if kind == "string":
            content = _unescape(content[1:-1], index + 1)
        if kind != "space":
            tokens.append(Token(kind, content, index + 1))  # type: ignore[arg-type]
        index = found.end()
    tokens.append(Token("end", "", len(text) + 1))
    return tokens


def _unescape(text: str, position: int) -> str:
    def one(found: re.Match[str]) -> str:
        if (character := _ESCAPES.get(found[1])) is None:
            raise ConditionError(
                f"\\{found[1]} is not an escape in a string; write \\\\{found[1]} for the two characters.", position
            )
        return character

    return _ESCAPE.sub(one, text)
