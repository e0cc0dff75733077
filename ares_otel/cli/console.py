"""What a person sees: doors on standard output for programs, everything else on standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_WIDTH = 400
"""Characters of one line: a sender's text in an error message must not fill the terminal."""


def progress(line: str) -> None:
    """One line about a step that takes a while."""
    _say(f"ares-otel: {printable(line)}")


def hint(text: str) -> None:
    """Lines for a person who looks at the terminal."""
    for line in text.split("\n"):
        _say(printable(line))


def error(message: str) -> None:
    """Why a command ended without success, a line for each thing that is wrong."""
    for line in message.splitlines():
        _say(f"ares-otel: {printable(line)}")


def door(name: str, url: str) -> None:
    """One door, as `NAME URL`, for programs that read standard output."""
    _tell(f"{name} {url}")


def ready() -> None:
    """All doors are open."""
    _tell("ready")


def _say(line: str) -> None:
    """Writes to standard error. The reader may be gone (a closed terminal, a pipe that ended): Ares works on."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the console


def _tell(line: str) -> None:
    """Writes to standard output. Whoever started Ares to read it and went away does not need it; others do."""
    try:
        print(line, flush=True)  # noqa: T201 - this is the console
    except (OSError, ValueError) as problem:
        progress(f"Standard output cannot be written ({problem}); it would have said: {line}")
        # What is left in the buffer must not fail again when Python ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def printable(text: str) -> str:
    """The text without control characters: telemetry and error messages may hold anything."""
    return "".join(character if character.isprintable() else " " for character in text)


class _Formatter(logging.Formatter):
    """One line a record, and the traceback below it when there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))[:_WIDTH]


def log_to_stderr(level: str, who: str = "") -> None:
    """Sends the log lines of Ares to standard error. `level`: debug, info, warn or error. `who`: which process says it,
    where there are several."""
    set_level(level)
    logger = logging.getLogger("ares_otel")
    logger.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(f"%(asctime)s %(levelname)s {who and who + ' '}%(name)s: %(message)s"))
    logger.handlers = [handler]


def set_level(level: str) -> None:
    """The least level of the log lines that Ares writes: debug, info, warn or error."""
    logging.getLogger("ares_otel").setLevel(LEVELS[level])
