"""The native encoder: what the extension `_native` makes of a request, as an `EncodedBatch`.

What is unusual goes to the reference encoder, as a whole request, so that its errors and its answers are the only ones
there are; `EncodedBatch.fallback` says why.
"""

from __future__ import annotations

from uuid import UUID

from ares_otel.model.batch import Batch
from ares_otel.model.errors import TooLarge
from ares_otel.model.signal import LOGS as LOGS_SIGNAL
from ares_otel.model.signal import TRACES, Signal
from ares_otel.storage.rows import _native, reference
from ares_otel.storage.rows.context import EXPANDS, Encoding
from ares_otel.storage.rows.encoded import (
    LOG_ROLLUPS,
    LOGS,
    MAX_BYTES,
    RESOURCES,
    SCOPES,
    SPAN_ROLLUPS,
    SPANS,
    EncodedBatch,
    ServiceSeen,
    TableRows,
    Windows,
)
from ares_otel.storage.rows.known import KnownSeries

ODD = (
    "",
    "no_memory",
    "malformed",
    "unknown_field",
    "repeated_field",
    "bad_utf8",
    "nul",
    "duplicate_key",
    "not_canonical",
    "too_deep",
    "string_table",
    "entities",
    "out_of_range",
    "unusual_value",
    "too_long",
)
"""Why a request is for the reference encoder, by the extension's number."""
ODD_CLOCK = "odd_clock"
SIGNAL = "signal"
REASONS = (
    "",
    "span.trace_id must be 16 bytes and not all zero",
    "span.span_id must be 8 bytes and not all zero",
    "span.parent_span_id must be empty or 8 bytes",
    "log_record.trace_id must be empty or 16 bytes",
    "log_record.span_id must be empty or 8 bytes",
)
"""Why an item is rejected, by the extension's number. The texts are those of the reference."""

_SIGNALS: dict[Signal, tuple[int, str, str]] = {TRACES: (0, SPANS, SPAN_ROLLUPS), LOGS_SIGNAL: (1, LOGS, LOG_ROLLUPS)}
_MAX_NS = 2**63 - 1


def encode_batch(batch: Batch, windows: Windows, known: KnownSeries | None = None) -> EncodedBatch:
    """What `encode_batch` of the reference gives, sooner."""
    made = attempt(batch, windows, known)
    return for_reference(made, batch, windows, known) if isinstance(made, str) else made


def for_reference(reason: str, batch: Batch, windows: Windows, known: KnownSeries | None = None) -> EncodedBatch:
    """What the reference makes of a request for which `attempt` gave a reason."""
    out = reference.encode_batch(batch, windows, known)
    out.fallback = reason
    return out


def attempt(batch: Batch, windows: Windows, known: KnownSeries | None = None) -> EncodedBatch | str:
    """The same without the reference: for a request that is for it, the reason. Quick enough for an event loop where
    the request is of ordinary size. Raises TooLarge."""
    kind = _SIGNALS.get(batch.signal)
    if kind is None:
        return SIGNAL
    number, table, rollups = kind
    encoding = Encoding(batch, windows, known)
    window = windows[table]
    filing_ns = encoding.filing_ns(window)
    if not (0 <= filing_ns <= _MAX_NS and 0 <= window.start_ns <= window.end_ns <= _MAX_NS):
        return ODD_CLOCK
    made = _native.encode(
        number, batch.payload, batch.tenant_id, encoding.shared, window.start_ns, window.end_ns, filing_ns, MAX_BYTES
    )
    if isinstance(made, int):
        return ODD[made]
    out = encoding.out
    out.source, out.windows = batch, windows
    too_large, rows, row_count, increments, increment_count = made[:5]
    out.items, out.rejected, reasons, resources, scopes, services, out.definition_bytes = made[5:]
    if too_large:
        raise TooLarge(EXPANDS)
    if row_count:
        out.tables[table] = TableRows(rows, row_count)
        out.tables[rollups] = TableRows(increments, increment_count)
    for reason, count in reasons:
        out.reasons[REASONS[reason]] = count
    if resources:
        out.definitions[RESOURCES] = {UUID(bytes=id_): values for id_, values in resources.items()}
        out.definitions[SCOPES] = {UUID(bytes=id_): values for id_, values in scopes.items()}
    out.services = {ServiceSeen(*texts) for texts in services}
    return out
