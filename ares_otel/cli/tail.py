"""`ares-otel tail`: spans and log records of a running Ares as they are stored, in the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from ares_otel.cli import console
from ares_otel.cli.shown import inert_json
from ares_otel.model.errors import StartError

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARN": "33", "ERROR": "31"}
_WIDTH = 2000
"""Characters of one line: a sender's text must not fill the terminal."""
_LINE_BYTES = 8 * 1024 * 1024
_RETRY_SECONDS = 1.0
_SILENCE_SECONDS = 45.0
"""Ares says something every ten seconds; after so long the connection is dead."""


@dataclass(frozen=True, slots=True)
class TailOptions:
    """What to show."""

    url: str
    service: str | None = None
    level: str | None = None
    """The least level; a span counts as ERROR when it failed, else as INFO."""
    spans: bool = True
    logs: bool = True
    json: bool = False


async def run_tail(options: TailOptions) -> int:
    """Shows until Ctrl-C. Returns the exit status.

    Raises:
        StartError: Ares cannot be reached at the start, or refuses the request.
    """
    colours = sys.stdout.isatty() and not options.json
    topic = "tail.*" if options.spans and options.logs else "tail.spans" if options.spans else "tail.logs"
    address = f"{options.url.rstrip('/')}/api/v1/events/{topic}"
    timeout = httpx.Timeout(10, read=_SILENCE_SECONDS)
    connected = False
    async with httpx.AsyncClient(timeout=timeout) as client:
        while True:
            try:
                async with client.stream("GET", address, headers={"Accept": "text/event-stream"}) as answer:
                    if answer.status_code != 200:
                        raise StartError(await _refusal(answer))
                    console.progress(
                        f"listening to {options.url}; Ctrl-C ends." if not connected else "connected again."
                    )
                    connected = True
                    async for data in _events(answer):
                        for line in lines(data, options, colours=colours):
                            print(line, flush=True)  # noqa: T201 - this is the console
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if not connected:
                    raise StartError(
                        f"Ares does not answer at {options.url} ({type(error).__name__}): start it with "
                        "`ares-otel up`, or name its address with --url."
                    ) from error
                console.progress("the connection is lost; trying again ...")
            except BrokenPipeError:
                return 0
            else:
                console.progress("Ares ended the stream; trying again ...")
            await asyncio.sleep(_RETRY_SECONDS)


def lines(event: Any, options: TailOptions, *, colours: bool) -> Iterable[str]:
    """The lines that show an event of the tail. What is not of the expected shape is left out."""
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict):
        return
    for kind in ("spans", "logs"):
        items = data.get(kind)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and _wanted(item, kind, options):
                shown = orjson.dumps({"kind": kind[:-1], **item}).decode() if options.json else None
                yield _show(item, kind, colours) if shown is None else inert_json(shown)
    dropped = data.get("dropped")
    if isinstance(dropped, int) and dropped and not options.json:
        yield f"... {dropped} more left out: too many to show"


def _wanted(item: dict[str, Any], kind: str, options: TailOptions) -> bool:
    if (kind == "spans" and not options.spans) or (kind == "logs" and not options.logs):
        return False
    if options.service is not None and item.get("service_name") != options.service:
        return False
    if options.level is None:
        return True
    level = _level(item, kind)
    return level in LEVELS and LEVELS.index(level) >= LEVELS.index(options.level)


def _level(item: dict[str, Any], kind: str) -> str:
    """Of a log record its level, of a span ERROR or INFO."""
    if kind == "logs":
        return str(item.get("log_level"))
    return "ERROR" if item.get("status") == "error" else "INFO"


def _show(item: dict[str, Any], kind: str, colours: bool) -> str:
    level = _level(item, kind)
    time = _time(item.get("time_unix_nano") if kind == "logs" else item.get("start_time_unix_nano"))
    if kind == "logs":
        mark, text = f"{level:5}", f"{item.get('message')}"
    else:
        duration = item.get("duration_ms")
        shown = f"{duration:.1f} ms" if isinstance(duration, int | float) else "?"
        mark, text = "SPAN ", f"{item.get('operation_name')} {shown}"
        if level == "ERROR":
            text += f" failed: {item.get('status_message') or 'no message'}"
    trace = f" trace={item['trace_id']}" if item.get("trace_id") else ""
    line = console.printable(f"{time} {mark} {item.get('service_name')}: {text}{trace}")[:_WIDTH]
    code = _COLOURS.get(level)
    return f"\x1b[{code}m{line}\x1b[0m" if colours and code else line


def _time(nanoseconds: Any) -> str:
    try:
        seconds, rest = divmod(int(nanoseconds), 1_000_000_000)
        return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}.{rest // 1_000_000:03d}"
    except (TypeError, ValueError, OverflowError, OSError):
        return "--:--:--.---"


async def _events(answer: httpx.Response) -> AsyncIterator[Any]:
    """The data of server-sent events."""
    rest = b""
    async for part in answer.aiter_bytes():
        *whole, rest = (rest + part).split(b"\n")
        if len(rest) > _LINE_BYTES:
            raise StartError("What answers there is not Ares: a line of the stream does not end.")
        for line in whole:
            if line.startswith(b"data: "):
                try:
                    yield orjson.loads(line[6:])
                except orjson.JSONDecodeError:
                    continue


async def _refusal(answer: httpx.Response) -> str:
    try:
        detail = orjson.loads(await answer.aread())["detail"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        detail = "it is not an Ares that has a live tail"
    return f"Ares refuses the tail (status {answer.status_code}): {str(detail)[:300]}"
