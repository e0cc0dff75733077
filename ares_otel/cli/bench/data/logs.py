"""Log records of the same traces, with the place in the code that wrote them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs, SeverityNumber

from ares_otel.cli.bench.data.story import Deed
from ares_otel.cli.bench.data.values import Value, key_values

_LINES = (
    (5, "DEBUG", "cache {hit} for {what} of customer {number}"),
    (9, "INFO", "{what} answered for customer {number} with {count} items"),
    (9, "INFO", "request {number} for {what} took {ms:.1f} ms"),
    (13, "WARN", "{what} is slow: {ms:.1f} ms, more than the 5.0 ms that were agreed"),
)
_ERROR = (17, "ERROR", "{what} failed for customer {number}: did not answer within 500 ms")
_WEIGHTS = (3, 8, 6, 1)


def told_by(deeds: list[Deed], source: random.Random) -> Iterator[tuple[Deed, LogRecord]]:
    """What the services of a trace log about it: each failure, and a line for about every second span."""
    for deed in deeds:
        if deed.failed:
            yield deed, _record(deed, _ERROR, source)
        if deed.role != "client" and source.random() < 0.6:
            yield deed, _record(deed, source.choices(_LINES, _WEIGHTS)[0], source)


def scope_of(deed: Deed, records: list[LogRecord]) -> ScopeLogs:
    """The records of one instance."""
    made = ScopeLogs(log_records=records)
    made.scope.name = deed.service.scope("logging")
    return made


def _record(deed: Deed, line: tuple[int, str, str], source: random.Random) -> LogRecord:
    number, text, message = line
    at = source.randrange(deed.start, deed.end + 1)
    record = LogRecord(time_unix_nano=at, observed_time_unix_nano=at + 60_000, severity_text=text, flags=1)
    record.severity_number = SeverityNumber.ValueType(number)
    record.body.string_value = message.format(
        what=deed.what,
        number=deed.number,
        count=deed.number % 40,
        ms=(deed.end - deed.start) / 1e6,
        hit="hit" if deed.number % 3 else "miss",
    )
    if source.random() < 0.92:  # the rest is what a service logs beside its requests
        record.trace_id, record.span_id = deed.trace_id, deed.span_id
    attributes: dict[str, Value] = {
        "code.file.path": f"/app/{deed.service.name}/{deed.role}.py",
        "code.line.number": 20 + deed.number % 300,
        "code.function.name": f"shop.{deed.service.name}.{deed.role}.handle",
        "thread.name": f"worker-{deed.number % 16}",
        "enduser.id": f"customer-{deed.number % 20_000}",
    }
    if number == _ERROR[0]:
        attributes |= {"exception.type": "TimeoutError", "exception.message": deed.what}
    record.attributes.extend(key_values(attributes))
    return record
