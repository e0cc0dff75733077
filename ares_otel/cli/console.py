"""What a person sees: doors on standard output for programs, everything else on standard error."""

from __future__ import annotations

import logging
import sys

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_WIDTH = 400
"""Characters of one line: a sender's text in an error message must not fill the terminal."""


def progress(line: str) -> None:
    """One line about a step that takes a while."""
    print(f"ares-otel: {printable(line)}", file=sys.stderr, flush=True)  # noqa: T201 - this is the console


def hint(text: str) -> None:
    """Lines for a person who looks at the terminal."""
    for line in text.split("\n"):
        print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 - this is the console


def error(message: str) -> None:
    """Why a command ended without success, a line for each thing that is wrong."""
    for line in message.splitlines():
        print(f"ares-otel: {printable(line)}", file=sys.stderr, flush=True)  # noqa: T201 - this is the console


def door(name: str, url: str) -> None:
    """One door, as `NAME URL`, for programs that read standard output."""
    print(f"{name} {url}", flush=True)  # noqa: T201 - this is the console


def ready() -> None:
    """All doors are open."""
    print("ready", flush=True)  # noqa: T201 - this is the console


def printable(text: str) -> str:
    """The text without control characters: telemetry and error messages may hold anything."""
    return "".join(character if character.isprintable() else " " for character in text)


class _Formatter(logging.Formatter):
    """One line a record, and the traceback below it when there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))[:_WIDTH]


def log_to_stderr(level: str) -> None:
    """Sends the log lines of Ares to standard error. `level`: debug, info, warn or error."""
    set_level(level)
    logger = logging.getLogger("ares_otel")
    logger.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.handlers = [handler]


def set_level(level: str) -> None:
    """The least level of the log lines that Ares writes: debug, info, warn or error."""
    logging.getLogger("ares_otel").setLevel(LEVELS[level])
