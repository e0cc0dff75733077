"""What the encoders of the signals share while one request is encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from ares_otel.model.batch import Batch
from ares_otel.model.errors import TooLarge
from ares_otel.storage.rows import copy_format
from ares_otel.storage.rows.encoded import MAX_BYTES, EncodedBatch, TableRows, Window, Windows
from ares_otel.storage.rows.known import KnownSeries
from ares_otel.storage.rows.values import InvalidItem, clean_text, json_object, json_text, raw_pairs

Item = TypeVar("Item")
EXPANDS = f"The request takes more than {MAX_BYTES // 2**20} MiB as rows; send fewer items at once, with shorter texts."
_length = copy_format.length
_jsonb_head = copy_format.jsonb_head


class Encoding:
    """One request on its way to rows."""

    __slots__ = ("_generation", "_known", "out", "received_ns", "replaced", "shared", "tenant_id", "windows")

    def __init__(self, batch: Batch, windows: Windows, known: KnownSeries | None = None) -> None:
        self._known = known
        self._generation = None if known is None else known.generation  # before anything is looked up
        self.out = EncodedBatch(batch.key, batch.signal, batch.tenant_id, batch.received_ns)
        self.windows = windows
        self.tenant_id = batch.tenant_id
        self.received_ns = batch.received_ns
        self.replaced = self.out.replaced
        self.shared = copy_format.int4(self.tenant_id) + copy_format.timestamptz(self.received_ns // 1000)
        """The fields tenant_id and received_at, with which every tuple begins."""

    def filing_ns(self, window: Window) -> int:
        """The time under which a row is filed whose own time has no partition: the receive time, or where that has none
        either, the nearest that has. So it is with a request that waited in the spool for longer than any partition,
        and with one that came while the clock was wrong."""
        return max(min(self.received_ns, window.end_ns - 1000), window.start_ns)

    def append(self, table: str, items: Iterable[Item], encode: Callable[[Item], bytes]) -> None:
        """Adds a tuple for each item to the table; an item for which `encode` raises InvalidItem is rejected.

        Raises:
            TooLarge: the rows take more than `MAX_BYTES`.
        """
        rows = self.out.tables.get(table) or TableRows()
        data = rows.data
        assert isinstance(data, bytearray)
        count = 0
        for item in items:
            try:
                row = encode(item)
            except InvalidItem as error:
                self.reject(error.reason)
            else:
                count += 1
                data += row
                if len(data) > MAX_BYTES:
                    raise TooLarge(EXPANDS)
        self.out.items += count
        rows.count += count
        if rows.count:
            self.out.tables[table] = rows

    def add_increments(self, table: str, rows: TableRows) -> None:
        """What the rows of the request add to a roll-up."""
        if rows.count:
            self.out.tables[table] = rows

    def is_known(self, series_id: bytes) -> bool:
        """Whether a metric series needs no definition, because this process wrote it before."""
        if self._known is None or series_id not in self._known:
            return False
        self.out.relies_on = self._generation
        return True

    def define(self, table: str, id_: bytes, values: tuple[object, ...]) -> None:
        """Adds a definition. Raises TooLarge when the request's definitions take more than `MAX_BYTES`."""
        self.out.definitions.setdefault(table, {})[UUID(bytes=id_)] = values
        self.out.definition_bytes += sum(len(value) for value in values if isinstance(value, (str, bytes)))
        if self.out.definition_bytes > MAX_BYTES:
            raise TooLarge(EXPANDS)

    def reject(self, reason: str, count: int = 1) -> None:
        """Counts items that cannot be stored."""
        self.out.items += count
        self.out.rejected += count
        self.out.reasons[reason] += count

    def text(self, value: str, column: str) -> bytes:
        """A text field; NUL is replaced."""
        data = value.encode()
        if 0 in data:
            data = clean_text(value, column, self.replaced).encode()
        return _length(len(data)) + data

    def optional_text(self, value: str, column: str) -> bytes:
        """A text field, NULL when empty."""
        return self.text(value, column) if value else copy_format.NULL

    def attributes(self, pairs: Sequence[KeyValue], column: str) -> tuple[dict[str, Any], bytes, bytes | None]:
        """An attribute list as (JSON object, jsonb field, protobuf encoding or None where jsonb is exact).

        Raises:
            InvalidItem: a value is nested too deep.
        """
        fields, exact = json_object(pairs)
        text, clean = json_text(fields, column, self.replaced)
        raw = None if exact and clean else raw_pairs(pairs)
        return fields, _jsonb_head(len(text) + 1, 1) + text, raw


def optional_bytes(value: bytes | None) -> bytes:
    return copy_format.NULL if value is None else copy_format.bytea(value)


def optional_count(value: int) -> bytes:
    """An int8 field, NULL for 0."""
    return copy_format.int8(value) if value else copy_format.NULL


def optional_numeric(value: int | None) -> bytes:
    return copy_format.NULL if value is None else copy_format.numeric(value)


def optional_time(unix_nano: int) -> bytes:
    """Two fields: timestamptz to the microsecond and int2 with the nanoseconds beyond; both NULL for 0."""
    if not unix_nano:
        return copy_format.NULL + copy_format.NULL
    us, ns = divmod(unix_nano, 1000)
    return copy_format.timestamptz(us) + copy_format.int2(ns)
