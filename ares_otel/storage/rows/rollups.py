"""Increments of the roll-ups: what the rows of one request add to the counts of their minutes.

They are rows of their own, appended beside the telemetry in the same transaction and merged later (`storage/rollups`).
Only what became a row counts. Rows stand in the order in which their keys first appeared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from math import isqrt

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import INT8_MAX, NULL
from ares_otel.storage.rows.encoded import LOG_ROLLUPS, SPAN_ROLLUPS, TableRows
from ares_otel.storage.rows.values import REPLACEMENT

MINUTE_NS = 60_000_000_000
MAX_NAME = 255
"""Characters of an operation's name that count: names that differ only beyond are one operation."""
PARTS = 64
"""Buckets of a factor of two. A duration is at most 0.55 % away from the middle of its bucket."""
ZERO_BUCKET = -1
"""The bucket of durations of 0 ns."""
MAX_HASHES = 512
"""Trace hashes of one row. Up to so many the number of traces is exact."""
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")

_SPAN_HEAD = copy_format.tuple_head(len(COPY_COLUMNS[SPAN_ROLLUPS]))
_LOG_HEAD = copy_format.tuple_head(len(COPY_COLUMNS[LOG_ROLLUPS]))
_FOUR = copy_format.fixed_fields("qqqq")
_MASK = 2**64 - 1


def _bound(part: int) -> int:
    """The smallest integer that is not below 2**63 * 2**(part / 64)."""
    power = root = 1 << (63 * PARTS + part)
    for _ in range(6):  # the square root of the square root …: the 64th root, rounded down
        root = isqrt(root)
    return root if root**PARTS == power else root + 1


BOUNDS = tuple(_bound(part) for part in range(1, PARTS))
"""Where, between 2**63 and 2**64, the buckets 1 to 63 of a factor of two begin."""


def bucket_of(duration_ns: int) -> int:
    """The bucket of a duration: floor(64 * log2(duration)), by integers only; -1 for 0."""
    if not duration_ns:
        return ZERO_BUCKET
    bits = duration_ns.bit_length()
    return PARTS * (bits - 1) + bisect_right(BOUNDS, duration_ns << (64 - bits))


def trace_hash(trace_id: bytes) -> int:
    """63 bits that spread like random ones, of a trace id of 16 bytes."""
    z = int.from_bytes(trace_id[:8], "big") ^ int.from_bytes(trace_id[8:], "big")
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 1


class _Calls:
    """Spans of one operation in one minute."""

    __slots__ = ("durations", "errors")

    def __init__(self) -> None:
        self.durations: list[int] = []
        self.errors = 0


class SpanIncrements:
    """What the spans of one request add."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str, str, str], _Calls] = {}

    def of_service(self, service_name: str) -> SpansOfService:
        """Where the spans of one scope are noted."""
        return SpansOfService(self, service_name)

    def calls(self, minute: int, service_name: str, operation_name: str, kind: str) -> _Calls:
        """The counts of one key, made when it is new."""
        if "\0" in operation_name:
            operation_name = operation_name.replace("\0", REPLACEMENT)
        return self._seen.setdefault((minute, service_name, operation_name[:MAX_NAME], kind), _Calls())

    def rows(self, tenant_id: int) -> TableRows:
        """The rows, as COPY takes them."""
        rows = TableRows(bytearray(), len(self._seen))
        assert isinstance(rows.data, bytearray)
        tenant = copy_format.int4(tenant_id)
        for (minute, service_name, operation_name, kind), calls in self._seen.items():
            durations = calls.durations
            counts = Counter(map(bucket_of, durations))
            buckets = sorted(counts)
            rows.data += b"".join(
                (
                    _SPAN_HEAD,
                    tenant,
                    copy_format.timestamptz(minute * 60_000_000),
                    copy_format.text(service_name),
                    copy_format.text(operation_name),
                    copy_format.text(kind),
                    _FOUR(
                        *(8, len(durations), 8, calls.errors),
                        *(8, min(sum(durations), INT8_MAX), 8, max(durations)),
                    ),
                    copy_format.int2_array(buckets),
                    copy_format.int8_array([counts[bucket] for bucket in buckets]),
                )
            )
        return rows


class SpansOfService:
    """Notes the spans of one scope. This is on the hot path: a span costs one look into a dictionary."""

    __slots__ = ("_found", "_increments", "_service_name")

    def __init__(self, increments: SpanIncrements, service_name: str) -> None:
        self._increments = increments
        self._service_name = service_name
        self._found: dict[tuple[int, str, str], _Calls] = {}

    def note(self, filed_ns: int, name: str, kind: str, duration_ns: int, error: bool) -> None:
        """One span that became a row."""
        key = (filed_ns // MINUTE_NS, name, kind)
        calls = self._found.get(key)
        if calls is None:
            calls = self._found[key] = self._increments.calls(key[0], self._service_name, name, kind)
        calls.durations.append(duration_ns)
        if error:
            calls.errors += 1


class _Records:
    """Log records of one service in one minute."""

    __slots__ = ("levels", "traces")

    def __init__(self) -> None:
        self.levels: Counter[str] = Counter()
        self.traces: set[bytes] = set()


class LogIncrements:
    """What the log records of one request add."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], _Records] = {}

    def note(self, filed_ns: int, service_name: str, level: str, trace_id: bytes) -> None:
        """One record that became a row. Args: trace_id: empty for none."""
        key = (filed_ns // MINUTE_NS, service_name)
        records = self._seen.get(key)
        if records is None:
            records = self._seen[key] = _Records()
        records.levels[level] += 1
        if trace_id:
            records.traces.add(trace_id)

    def rows(self, tenant_id: int) -> TableRows:
        """The rows, as COPY takes them."""
        rows = TableRows(bytearray(), len(self._seen))
        assert isinstance(rows.data, bytearray)
        tenant = copy_format.int4(tenant_id)
        for (minute, service_name), records in self._seen.items():
            hashes = sorted(set(map(trace_hash, records.traces)))
            threshold = hashes[MAX_HASHES] if len(hashes) > MAX_HASHES else None
            debug, info, warn, error = (records.levels[level] for level in LEVELS)
            rows.data += b"".join(
                (
                    _LOG_HEAD,
                    tenant,
                    copy_format.timestamptz(minute * 60_000_000),
                    copy_format.text(service_name),
                    _FOUR(8, debug, 8, info, 8, warn, 8, error),
                    copy_format.int8_array(hashes[:MAX_HASHES]),
                    NULL if threshold is None else copy_format.int8(threshold),
                )
            )
        return rows
