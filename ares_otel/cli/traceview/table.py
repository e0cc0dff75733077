"""Traces as lines of a table, or as JSON, one a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from ares_otel.cli.traceview.text import Script, counted, duration_text, time_text
from ares_otel.query.instant import Instant
from ares_otel.query.search.summaries import TraceSummary

_SERVICES = 3
"""Names of services in a line."""
_LEAST = 20


def table(summaries: Sequence[TraceSummary], script: Script, width: int) -> Iterator[Text]:
    """A head, and a line for each trace. Ids are whole: they are what `ares-otel trace` takes."""
    head = f"{'TRACE':32}  {'DURATION':>9}  {'SPANS':>6}  {'ERRORS':>6}  "
    # On a narrow terminal what was called goes below: an id that is cut is of no use.
    narrow = width < 25 + len(head) + _LEAST
    time = 19 if narrow else 23  # columns, without or with milliseconds
    head = f"{'TIME (UTC)':{time}}  {head}"
    yield Text(head.rstrip() if narrow else f"{head}ROOT", style="dim")
    for one in summaries:
        line = Text()
        line.append(f"{time_text(one.start_unix_nano)[:time]:{time}}  ", "dim")
        line.append(one.trace_id.hex, "bold")
        duration = duration_text(max(0, one.end_unix_nano - one.start_unix_nano))
        line.append(f"  {duration:>9}  {one.span_count:>6}  ")
        line.append(f"{one.error_span_count or '-':>6}", "bold red" if one.error_span_count else "dim")
        room = width - 2 if narrow else width - cell_len(line.plain) - 2
        what = script.cut(_what(one, script), room)
        if narrow:
            yield line
            yield Text(f"  {what}")
        else:
            line.append(f"  {what}")
            yield line


def _what(one: TraceSummary, script: Script) -> str:
    root = f"{script.shown(one.root_service, 60)} {script.shown(one.root_operation, 200)}"
    others = [script.shown(service.name, 40) for service in one.services if service.name != one.root_service]
    if not others:
        return root
    more = f" and {len(others) - _SERVICES} more" if len(others) > _SERVICES else ""
    return f"{root}  (with {', '.join(others[:_SERVICES])}{more})"


def json_summary(one: TraceSummary) -> dict[str, Any]:
    """A trace as JSON has it: ids in hex, times in RFC 3339 and in nanoseconds as text, as OTLP writes them."""
    return {
        "trace_id": one.trace_id.hex,
        "root_service": one.root_service,
        "root_operation": one.root_operation,
        "start_time": _rfc3339(one.start_unix_nano),
        "start_time_unix_nano": str(one.start_unix_nano),
        "end_time_unix_nano": str(one.end_unix_nano),
        "duration_ms": (one.end_unix_nano - one.start_unix_nano) / 1e6,
        "span_count": one.span_count,
        "error_span_count": one.error_span_count,
        "orphan_span_count": one.orphan_span_count,
        "services": [
            {"name": service.name, "span_count": service.span_count, "error_span_count": service.error_span_count}
            for service in one.services
        ],
    }


def _rfc3339(unix_nano: int) -> str | None:
    """None for a time that no calendar has."""
    try:
        instant = Instant.from_ns(unix_nano)
    except OverflowError:
        return None
    return f"{instant.time:%Y-%m-%dT%H:%M:%S.%f}{instant.ns:03d}Z"


def verdict(number: int, limit: int, *, complete: bool) -> str:
    """What stands below the table. `complete`: whether the search had the time to look at everything."""
    if not complete:
        return (
            f"{counted(number, 'trace')} so far, for the time was over; name a --service, or a shorter time by --since "
            "or by --from and --to."
        )
    if not number:
        return "No trace is like that."
    return counted(number, "trace") + ("; --limit shows more, if there are." if number == limit else ".")
