"""Points that came as deltas, as rows of their own: which ones a request stored, so that each is added up once.

They are appended beside the telemetry in the same transaction and added up later (`storage/totals`). Only what became a
row counts, and what has a value.
"""

from __future__ import annotations

from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.columns import COPY_COLUMNS
from ares_otel.storage.rows.copy_format import NULL
from ares_otel.storage.rows.encoded import DELTAS, TableRows

_HEAD = copy_format.tuple_head(len(COPY_COLUMNS[DELTAS]))
_UUID = copy_format.length(16)
_FLOAT8 = 12
"""Bytes of a field of float8 that is not NULL."""


class DeltaArrivals:
    """Collects the points of one request."""

    def __init__(self, tenant_id: int) -> None:
        self.rows = TableRows()
        self._prefix = _HEAD + copy_format.int4(tenant_id) + _UUID

    def add_number(self, series_id: bytes, time: bytes, value: bytes) -> None:
        """A point of a counter; `time` and `value` are its fields, which begin with the value as a double."""
        if not value.startswith(NULL):
            self._add(series_id, time, value[:_FLOAT8])

    def add_distribution(self, series_id: bytes, time: bytes) -> None:
        """A point of a histogram, whose values are in its row."""
        self._add(series_id, time, NULL)

    def _add(self, series_id: bytes, time: bytes, value: bytes) -> None:
        assert isinstance(self.rows.data, bytearray)
        self.rows.data += b"".join((self._prefix, series_id, time, value))
        self.rows.count += 1
