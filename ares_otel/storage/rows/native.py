"""The native encoder: what the extension `_native` makes of a request, as an `EncodedBatch`.

What is unusual goes to the reference encoder, as a whole request, so that its errors and its answers are the only ones
there are; `EncodedBatch.fallback` says why.
"""

from __future__ import annotations

from ares_otel.model.batch import Batch
from ares_otel.model.errors import TooLarge
from ares_otel.model.signal import LOGS as LOGS_SIGNAL
from ares_otel.model.signal import METRICS, TRACES, Signal
from ares_otel.storage.rows import _native, reference
from ares_otel.storage.rows.context import EXPANDS, Encoding
from ares_otel.storage.rows.encoded import LOG_ROLLUPS, LOGS, MAX_BYTES, SPAN_ROLLUPS, SPANS, EncodedBatch, Windows
from ares_otel.storage.rows.known import KnownSeries
from ares_otel.storage.rows.native_metrics import encode_metrics
from ares_otel.storage.rows.native_result import NUMBERS, ODD, ODD_CLOCK, add_rows, fill, is_usual_clock

REASONS = (
    "",
    "span.trace_id must be 16 bytes and not all zero",
    "span.span_id must be 8 bytes and not all zero",
    "span.parent_span_id must be empty or 8 bytes",
    "log_record.trace_id must be empty or 16 bytes",
    "log_record.span_id must be empty or 8 bytes",
)
"""Why an item is rejected, by the extension's number. The texts are those of the reference."""

NativeKnownSeries = _native.KnownSeries

_TABLES: dict[Signal, tuple[str, str]] = {TRACES: (SPANS, SPAN_ROLLUPS), LOGS_SIGNAL: (LOGS, LOG_ROLLUPS)}


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
    encoding = Encoding(batch, windows, known)
    encoding.out.source, encoding.out.windows = batch, windows
    odd = encode_metrics(encoding, batch, known) if batch.signal is METRICS else _encode(encoding, batch)
    return odd or encoding.out


def envelopes(batch: Batch, limit: int) -> int:
    """How many messages a request has around its items: resources, scopes and metrics. More than `limit` where there
    are more; 0 where the request is malformed, which ends its encoding, too."""
    return _native.envelopes(NUMBERS[batch.signal], batch.payload, limit)


def _encode(encoding: Encoding, batch: Batch) -> str:
    """Spans and log records into `encoding.out`. Returns why the request is for the reference; empty when it is not.

    Raises:
        TooLarge: it takes too much as rows and definitions.
    """
    table, rollups = _TABLES[batch.signal]
    window = encoding.windows[table]
    filing_ns = encoding.filing_ns(window)
    if not is_usual_clock(window, filing_ns):
        return ODD_CLOCK
    made = _native.encode(
        NUMBERS[batch.signal],
        batch.payload,
        batch.tenant_id,
        encoding.shared,
        window.start_ns,
        window.end_ns,
        filing_ns,
        MAX_BYTES,
    )
    if isinstance(made, int):
        return ODD[made]
    (too_large, rows, count, increments, increment_count, items, rejected, reasons) = made[:8]
    if too_large:
        raise TooLarge(EXPANDS)
    out = encoding.out
    out.items, out.rejected = items, rejected
    for reason, times in reasons:
        out.reasons[REASONS[reason]] = times
    add_rows(out, table, rows, count)
    add_rows(out, rollups, increments, increment_count)
    fill(out, *made[8:])
    return ""
