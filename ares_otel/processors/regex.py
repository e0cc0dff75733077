"""Regular expressions over text that a sender chose.

Python's own `re` backtracks: `(a+)+$` on a long name would hold a worker for years. RE2 matches in linear time, and
its syntax is the one that the Collector's documentation means: https://github.com/google/re2/wiki/Syntax. There are no
back-references and no look-arounds; matching is by search, not anchored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import re2
from pydantic import AfterValidator

MAX_PATTERN_LENGTH = 4096
MAX_REPLACEMENTS = 1000
"""Each search is linear, but many searches over one value are not; the rest of a value is then masked as a whole."""


class Pattern:
    """A compiled expression.

    Raises:
        ValueError: the expression is not valid RE2; the message says what is wrong with it.
    """

    __slots__ = ("_compiled", "names")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN_LENGTH:
            raise ValueError(f"The regular expression is longer than {MAX_PATTERN_LENGTH} characters.")
        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled = re2.compile(text, options)
        except re2.error as error:
            detail = error.args[0] if error.args else error
            detail = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
            raise ValueError(f"{text!r} is not a regular expression in RE2's syntax: {detail}.") from None
        by_index = {index: name for name, index in self._compiled.groupindex.items()}
        self.names: tuple[str, ...] = tuple(by_index.get(index, "") for index in range(1, self._compiled.groups + 1))
        """Names of the groups in their order; empty for a group without a name."""

    def matches(self, text: str) -> bool:
        """Whether the expression is found anywhere in the text."""
        return self._compiled.search(text) is not None

    def named_groups(self, text: str) -> dict[str, str] | None:
        """The text of each named group of the first match, "" for one that took no part; None without a match."""
        found = self._compiled.search(text)
        if found is None:
            return None
        return {name: found.group(name) or "" for name in self.names if name}

    def replace(self, text: str, replacement: Callable[[str], str]) -> str:
        """The text with each match replaced. Empty matches stay; after `MAX_REPLACEMENTS` the rest is one match."""
        pieces: list[str] = []
        end = 0
        for count, found in enumerate(self._compiled.finditer(text), 1):
            start, stop = found.span()
            if start == stop:
                continue
            pieces.append(text[end:start])
            if count > MAX_REPLACEMENTS:
                stop = len(text)
            pieces.append(replacement(text[start:stop]))
            end = stop
            if end == len(text):
                break
        pieces.append(text[end:])
        return "".join(pieces)


class Patterns:
    """Several expressions, asked at once: whether any of them is found."""

    __slots__ = ("_all", "_combined")

    def __init__(self, texts: Sequence[str]) -> None:
        self._all = [Pattern(text) for text in texts]
        self._combined: Pattern | None = None
        if len(texts) > 1:
            try:
                self._combined = Pattern("|".join(f"(?:{text})" for text in texts))
            except ValueError:  # too long together, or a group's name twice: then one by one
                pass

    def __iter__(self) -> Iterator[Pattern]:
        return iter(self._all)

    def any_matches(self, text: str) -> bool:
        """Whether any expression is found in the text; never for no expressions."""
        if self._combined is not None:
            return self._combined.matches(text)
        return any(pattern.matches(text) for pattern in self._all)


def _checked(text: str) -> str:
    Pattern(text)
    return text


Regex = Annotated[str, AfterValidator(_checked)]
"""An option that holds a regular expression; a wrong one is an error when the configuration is read."""
