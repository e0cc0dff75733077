"""What the native encoder's answers have in common, as parts of an `EncodedBatch`."""

from __future__ import annotations

from uuid import UUID

from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.storage.rows.encoded import RESOURCES, SCOPES, EncodedBatch, ServiceSeen, TableRows, Window

NUMBERS: dict[Signal, int] = {TRACES: 0, LOGS: 1, METRICS: 2}
"""What the extension calls the signals."""

Values = tuple[object, ...]
"""The column values of a definition."""

ODD = (
    "",
    "no_memory",
    "malformed",
    "unknown_field",
    "repeated_field",
    "bad_utf8",
    "nul",
    "duplicate_key",
    "too_deep",
    "string_table",
    "out_of_range",
    "unusual_value",
    "too_long",
)
"""Why a request is for the reference encoder, by the extension's number."""
ODD_CLOCK = "odd_clock"
"""The receive time or a window lies before 1970 or after 2262."""
_MAX_NS = 2**63 - 1


def is_usual_clock(window: Window, filing_ns: int) -> bool:
    """Whether the native encoder can compute with a window and the time under which rows outside of it are filed."""
    return 0 <= filing_ns <= _MAX_NS and 0 <= window.start_ns <= window.end_ns <= _MAX_NS


def add_rows(out: EncodedBatch, table: str, rows: bytes, count: int) -> None:
    """Adds a table, if it has rows."""
    if count:
        out.tables[table] = TableRows(rows, count)


def fill(
    out: EncodedBatch,
    resources: dict[bytes, Values],
    scopes: dict[bytes, Values],
    services: set[tuple[str, str, str, str, str]],
    definition_bytes: int,
) -> None:
    """Adds resources, scopes and who was seen."""
    if resources:
        out.definitions[RESOURCES] = by_uuid(resources)
        out.definitions[SCOPES] = by_uuid(scopes)
    out.services = {ServiceSeen(*texts) for texts in services}
    out.definition_bytes = definition_bytes


def by_uuid(definitions: dict[bytes, Values]) -> dict[UUID, Values]:
    return {UUID(bytes=id_): values for id_, values in definitions.items()}
