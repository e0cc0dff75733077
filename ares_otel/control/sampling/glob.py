"""Patterns for names of operations."""

from __future__ import annotations


class Glob:
    """A pattern in which `*` stands for any text, and everything else for itself. Matching is linear in the text for
    each part between two stars, whatever the pattern."""

    def __init__(self, pattern: str) -> None:
        self._first, *rest = pattern.split("*")
        self._last = rest.pop() if rest else None
        self._middle = [part for part in rest if part]

    @property
    def exact(self) -> str | None:
        """The only text that fits; None where there are others."""
        return self._first if self._last is None else None

    @property
    def any(self) -> bool:
        """Whether every text fits."""
        return not self._first and self._last == "" and not self._middle

    def matches(self, text: str) -> bool:
        """Whether all of the text is what the pattern says."""
        if self._last is None:
            return text == self._first
        at, end = len(self._first), len(text) - len(self._last)
        if at > end or not text.startswith(self._first) or not text.endswith(self._last):
            return False
        for part in self._middle:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True
