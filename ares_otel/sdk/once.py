"""Sentences that are said once."""

from __future__ import annotations

import contextlib
import logging

MAX_SENTENCES = 200
"""Different things that one `Once` says in the life of a process."""


class Once:
    """Tells people what is wrong with a call, once for each thing. Never raises, whatever the log's handlers do.

    Thread-safe, and without a lock, which a fork could leave held.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[object, object] = {}

    def say(self, about: object, sentence: str, *arguments: object) -> None:
        """Logs the sentence as a warning, unless one was said about the same thing before.

        Args:
            about: hashable; what makes two sentences the same.
            arguments: for the %-places of the sentence.
        """
        if about in self._said or len(self._said) > MAX_SENTENCES:
            return
        if len(self._said) == MAX_SENTENCES:
            sentence, arguments = "More is wrong with what is logged and measured than is said here.", ()
        mine = object()
        if self._said.setdefault(about, mine) is not mine:
            return
        with contextlib.suppress(Exception):
            self._log.warning(sentence, *arguments)
