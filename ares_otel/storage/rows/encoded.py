"""What the row encoder hands to the writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from ares_otel.model.batch import Batch
from ares_otel.model.signal import Signal

SPANS = "service_spans"
LOGS = "service_logs"
SAMPLES = "metric_samples"
DISTRIBUTIONS = "metric_distributions"
PARTITIONED = (SPANS, LOGS, SAMPLES, DISTRIBUTIONS)
"""The telemetry tables, all range-partitioned by time."""
PACKS = "metric_packs"
"""Where samples of sealed partitions go, many in a row (`partitions/packing.py`). Nothing is filed there directly."""
KEPT = (*PARTITIONED, PACKS)
"""All tables whose partitions retention keeps in bounds."""

SPAN_ROLLUPS = "span_rollup_increments"
LOG_ROLLUPS = "log_rollup_increments"
DELTAS = "metric_delta_arrivals"
INCREMENTS = (SPAN_ROLLUPS, LOG_ROLLUPS, DELTAS)
"""What a request adds to the roll-ups (`rows/rollups.py`) and to the totals of deltas (`rows/deltas.py`), written with
its rows. No telemetry: no item of its own."""

RESOURCES = "otel_resources"
SCOPES = "otel_scopes"
SERIES = "metric_series"
DEFINITIONS = (RESOURCES, SCOPES, SERIES)
"""The tables that rows refer to by hash. Their columns are in `ares_otel/storage/definitions.py`."""


class Window(NamedTuple):
    """The time range that the existing partitions of a table cover, nanoseconds since 1970: `start <= t < end`."""

    start_ns: int
    end_ns: int


Windows = Mapping[str, Window]
"""Table name → its window. A row whose event time lies outside is filed under the receive time."""


@dataclass(slots=True)
class TableRows:
    """Rows of one table as binary COPY tuples, without the header and the trailer of the format."""

    data: bytes | bytearray = field(default_factory=bytearray)
    count: int = 0
    """How many tuples."""


class ServiceSeen(NamedTuple):
    """A sender, as its resource describes it; every text at most 255 characters, empty when not given."""

    name: str
    namespace: str
    version: str
    instance_id: str
    language: str


class Told(NamedTuple):
    """The answer that a sender was given before its request reached the database."""

    rejected: int
    reason: str


@dataclass(slots=True, weakref_slot=True)
class EncodedBatch:
    """One request as rows."""

    key: bytes
    signal: Signal
    tenant_id: int
    received_ns: int
    tables: dict[str, TableRows] = field(default_factory=dict)
    """By table name, only tables that have rows: telemetry, and `INCREMENTS` of the roll-ups where there is some."""
    definitions: dict[str, dict[UUID, tuple[object, ...]]] = field(default_factory=dict)
    """By table name: id → column values after (tenant_id, id), in the order of `definitions.COLUMNS`."""
    relies_on: int | None = None
    """The generation of the known series by which some were not defined again; None when every one of them was."""
    definition_bytes: int = 0
    """Bytes of the definitions' values."""
    items: int = 0
    """Items in the request: stored plus rejected."""
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why items were rejected, and how many for each reason; the text names the field, never a value."""
    services: set[ServiceSeen] = field(default_factory=set)
    replaced: Counter[str] = field(default_factory=Counter)
    """Column name → NUL characters that were stored as U+FFFD."""
    fallback: str = ""
    """Why the native encoder left the request to the reference, in a word; empty when it did not."""
    source: Batch | None = None
    """The request itself: when the database refuses a row, it is looked for in here."""
    windows: Windows = field(default_factory=dict)
    """What it was encoded with."""
    told: Told | None = None
    """What the sender was told already, when the request comes from the spool."""

    @property
    def stored(self) -> int:
        return self.items - self.rejected

    @property
    def size(self) -> int:
        """Bytes of rows and definitions."""
        return self.definition_bytes + sum(len(rows.data) for rows in self.tables.values())

    @property
    def promised(self) -> int:
        """Items that the sender is told, or was told, are safe."""
        return self.stored if self.told is None else self.items - self.told.rejected

    @property
    def told_rejected(self) -> int:
        """Items that the sender is told, or was told, are rejected."""
        return self.rejected if self.told is None else self.told.rejected

    @property
    def told_reason(self) -> str:
        """And why."""
        return self.reason if self.told is None else self.told.reason

    @property
    def reason(self) -> str:
        """The rejections in one sentence for the sender, at most 1,000 characters; empty when there are none."""
        if not self.rejected:
            return ""
        parts = [f"{count} × {reason}" if count > 1 else reason for reason, count in self.reasons.most_common(10)]
        more = len(self.reasons) - len(parts)
        text = "; ".join(parts) + (f"; and {more} more kinds" if more > 0 else "")
        return text if len(text) <= 1000 else text[:997] + "..."


MAX_BYTES = 128 * 1024 * 1024
"""Bytes of rows and definitions that one request may become. A body within the receivers' limits can expand: a long
service name stands in every row, a long description in every series."""
