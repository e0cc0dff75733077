"""Regular expressions of searches: RE2's, which match in time linear in the text.

PostgreSQL's own are another dialect, with back-references and with patterns that take exponential time. So the database
gives the distinct texts, this matches them, and the texts that matched are what the statement asks for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import re2

from ares_otel.query.reader import QueryTooSlow

MAX_LENGTH = 2048
"""Characters of a pattern."""
MAX_PROGRAM = 5000
"""Instructions of a compiled pattern: what a character of a text may cost when RE2 cannot keep its states."""
_SLICE = 256 * 1024
"""Characters matched between two looks at the clock."""


class Pattern:
    """A compiled expression: found anywhere in a text, as Go's `MatchString`.

    Raises:
        ValueError: it is not valid, or too expensive; the message is a sentence without a subject.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"must have {MAX_LENGTH} characters at most")
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        try:
            self._compiled = re2.compile(text, options)
        except re2.error as error:
            detail = error.args[0] if error.args else error
            detail = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
            shown = "".join(one if one.isprintable() else "?" for one in detail[:200])
            raise ValueError(f"must be a regular expression in RE2's syntax ({shown})") from None
        except UnicodeEncodeError:
            raise ValueError("must be text without unpaired surrogates") from None
        if self._compiled.programsize > MAX_PROGRAM:
            raise ValueError("must be simpler: its repetitions multiply to too much")

    def matches(self, text: str) -> bool:
        """Whether it is found anywhere in the text."""
        return self._compiled.search(text.encode(errors="replace")) is not None

    def matching(self, texts: Sequence[str], *, until: float) -> list[str]:
        """The texts in which it is found. To be called in a thread: it takes what it takes.

        Raises:
            QueryTooSlow: `until`, a moment of `time.monotonic`, is over.
        """
        found: list[str] = []
        looked = 0
        for text in texts:
            if self.matches(text):
                found.append(text)
            looked += len(text) + 100
            if looked > _SLICE:
                looked = 0
                if time.monotonic() > until:
                    raise QueryTooSlow("The regular expression takes too long; narrow the time range.")
        return found
