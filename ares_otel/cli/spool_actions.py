"""What `ares-otel spool ls`, `verify` and `export` do. They give the exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import typer
from google.protobuf.message import DecodeError

from ares_otel.cli import console
from ares_otel.cli.config_text import table
from ares_otel.model.errors import StartError
from ares_otel.model.otlp_json import encode_json
from ares_otel.model.signal import SIGNALS
from ares_otel.model.varint import varint
from ares_otel.storage.spool.spool import explain_spool_error
from ares_otel.storage.spool.survey import SegmentReport, missing_files, records_of, segment_files, survey
from ares_otel.storage.spool.workers import all_spools


def list_segments(directory: Path, as_json: bool) -> int:
    """Shows a line for each segment. Raises StartError when there is no such directory."""
    with _readable(directory):
        reports = [report for place in all_spools(directory) for report in survey(place, bodies=False)]
    if as_json:
        typer.echo(orjson.dumps([_row(directory, report) for report in reports], option=orjson.OPT_INDENT_2))
        return 0
    if not reports:
        console.hint(f"Nothing waits in {directory}.")
        return 0
    rows = [("SIGNAL", "SEGMENT", "STATE", "REQUESTS", "ITEMS", "BYTES", "OLDEST")]
    rows += [
        (
            report.file.signal.name,
            str(report.file.path.relative_to(directory)),
            report.file.state,
            str(report.records),
            str(report.items),
            str(report.size),
            _time(report.oldest_ns) or "-",
        )
        for report in reports
    ]
    typer.echo(table(rows))
    return 0


def verify_segments(directory: Path, as_json: bool) -> int:
    """Reads everything. Returns 1 when there is a problem. Raises StartError when there is no such directory."""
    with _readable(directory):
        places = all_spools(directory)
        reports = [report for place in places for report in survey(place, bodies=True)]
        missing = [path for place in places for path in missing_files(place)]
    problems = [
        (str(report.file.path.relative_to(directory)), problem) for report in reports for problem in report.problems
    ]
    problems += [(str(path.relative_to(directory)), "The segment is missing.") for path in missing]
    if as_json:
        rows = [_row(directory, report) | {"problems": report.problems} for report in reports]
        gone = [str(path.relative_to(directory)) for path in missing]
        typer.echo(orjson.dumps({"segments": rows, "missing": gone}, option=orjson.OPT_INDENT_2))
    else:
        for segment, problem in problems:
            typer.echo(f"{segment}: {problem}")
        records, items = (sum(getattr(report, name) for report in reports) for name in ("records", "items"))
        console.hint(
            f"{len(reports)} segments, {records} requests and {items} items are whole; {len(problems)} problems."
        )
    return 1 if problems else 0


def export_requests(directory: Path, file: str, signal: str, *, protobuf: bool, quarantine: bool) -> int:
    """Writes requests as OTLP. Returns 1 when one of them is no valid OTLP message. Raises StartError when the spool
    cannot be read or the file cannot be written."""
    states = {"quarantined", "salvaged"} if quarantine else {"waiting", "newest", "salvaged"}
    with _readable(directory):
        files = [
            (place, one)
            for place in all_spools(directory)
            for one in sorted(segment_files(place), key=lambda one: one.number)
            if one.signal.name == signal and one.state in states
        ]
    written = invalid = 0
    with _output(file) as out:
        for place, one in files:
            with _readable(directory):
                for record in records_of(place, one):
                    message = SIGNALS[signal].request()
                    if protobuf:
                        out.write(varint(len(record.payload)) + record.payload)
                    else:
                        try:
                            message.ParseFromString(record.payload)
                        except DecodeError:
                            invalid += 1
                            console.error(f"A request in {one.path} is no valid OTLP message; it was left out.")
                            continue
                        out.write(encode_json(message) + b"\n")
                    written += 1
    console.hint(f"{written} requests were written.")
    return 1 if invalid else 0


@contextmanager
def _readable(directory: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except FileNotFoundError:
        raise StartError(f"There is no spool in {directory}; name its directory by --spool-dir.") from None
    except OSError as error:
        raise StartError(explain_spool_error(error, directory)) from None


@contextmanager
def _output(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        out = Path(file).open("xb")  # noqa: SIM115 - closed below
    except FileExistsError:
        raise StartError(f"{file} exists; name a file that does not.") from None
    except OSError as error:
        raise StartError(f"{file} cannot be written: {error.strerror}.") from None
    with out:
        yield out


def _row(directory: Path, report: SegmentReport) -> dict[str, Any]:
    return {
        "signal": report.file.signal.name,
        "segment": str(report.file.path.relative_to(directory)),
        "state": report.file.state,
        "requests": report.records,
        "items": report.items,
        "bytes": report.size,
        "oldest": _time(report.oldest_ns),
        "incomplete_bytes": report.tail,
    }


def _time(ns: int | None) -> str | None:
    if ns is None:
        return None
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
