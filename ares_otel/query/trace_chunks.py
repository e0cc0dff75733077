"""Rows of spans as OTLP, in parts of bounded size."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.query.reader import Reader
from ares_otel.query.trace_search import STATEMENTS
from ares_otel.storage.rows.restore import Definitions, Groups
from ares_otel.storage.rows.restore_items import span_from_row

KEPT_DEFINITIONS = 1_000
KEPT_BYTES = 4 * 1024 * 1024
"""Resources, and as many scopes, that are remembered from one slice of rows to the next."""
LARGE_SLICE = 256 * 1024
"""Bytes of rows from which on they are converted in a thread: the event loop has others to serve."""
WIDE = (
    *("operation_name", "status_message", "trace_state", "attributes", "events", "links"),
    *("attributes_raw", "events_raw", "links_raw"),
)
"""Columns of spans that may be large."""
_FRAME = 8
"""Bytes around a message inside another one, at most: its tag and its length."""


class DefinitionCache:
    """Resources or scopes by id: those that were used last, so that a trace of a hundred thousand does not live in
    memory."""

    def __init__(self, statement: str, column: str) -> None:
        """
        Args:
            statement: reads them.
            column: their id.
        """
        self.column = column
        self._statement = STATEMENTS[statement]
        self._kept: OrderedDict[UUID, Any] = OrderedDict()
        self._bytes = 0

    async def of(self, reader: Reader, rows: Sequence[Any]) -> dict[UUID, Any]:
        """The definitions that the rows refer to and that exist. Raises as `Reader.fetch` does."""
        wanted = {row[self.column] for row in rows} - {None}
        found = {}
        for id_ in wanted & self._kept.keys():
            found[id_] = self._kept[id_]
            self._kept.move_to_end(id_)
        if missing := wanted - found.keys():
            tenants = sorted({row["tenant_id"] for row in rows})
            for record in await reader.fetch(self._statement, tenants=tenants, ids=sorted(missing)):
                found[record[self.column]] = record
                self._keep(record)
        return found

    def _keep(self, record: Any) -> None:
        self._kept[record[self.column]] = record
        self._bytes += _row_bytes(record)
        while len(self._kept) > KEPT_DEFINITIONS or (self._bytes > KEPT_BYTES and self._kept):
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _row_bytes(dropped)


class ChunkMaker:
    """Makes chunks of rows. What is larger than a chunk may be stands in one alone."""

    def __init__(self, chunk_spans: int, chunk_bytes: int) -> None:
        self._most_spans = chunk_spans
        self._most_bytes = chunk_bytes
        self._resources = DefinitionCache("stream_resources", "resource_id")
        self._scopes = DefinitionCache("stream_scopes", "scope_id")
        self._begin()

    async def add(self, reader: Reader, rows: Sequence[Any], size: int) -> list[TracesData]:
        """Takes rows of so many bytes, and returns the chunks that became full. Raises as `Reader.fetch` does."""
        if not rows:
            return []
        definitions = Definitions(await self._resources.of(reader, rows), await self._scopes.of(reader, rows))
        known = [*definitions.resources.values(), *definitions.scopes.values()]
        if size + sum(map(_row_bytes, known)) < LARGE_SLICE:
            return self._add(rows, definitions)
        return await asyncio.to_thread(self._add, rows, definitions)

    def rest(self) -> list[TracesData]:
        """The last chunk, if something is in it."""
        full = [self._chunk] if self._spans else []
        self._begin()
        return full

    def _begin(self) -> None:
        self._chunk = TracesData()
        self._groups = Groups(Definitions({}, {}), "scope_spans")
        self._sizes: dict[object, int] = {}
        self._spans = self._bytes = 0

    def _add(self, rows: Iterable[Any], definitions: Definitions) -> list[TracesData]:
        full = []
        self._groups.know(definitions)
        for row in rows:
            span = span_from_row(row)
            size = span.ByteSize() + _FRAME
            more = size + self._size_of_group(row, definitions)
            if self._spans and (self._spans >= self._most_spans or self._bytes + more > self._most_bytes):
                full.append(self._chunk)
                self._begin()
                self._groups.know(definitions)
                more = size + self._size_of_group(row, definitions)
            self._groups.scope(self._chunk.resource_spans, row).spans.append(span)
            self._sizes[row["resource_id"]] = self._sizes[row["resource_id"], row["scope_id"]] = 0
            self._spans += 1
            self._bytes += more
        return full

    def _size_of_group(self, row: Any, definitions: Definitions) -> int:
        """What the resource and the scope of a row add to the chunk at most; nothing when they are in it."""
        size = 0
        for key, found in (
            (row["resource_id"], definitions.resources.get(row["resource_id"])),
            ((row["resource_id"], row["scope_id"]), definitions.scopes.get(row["scope_id"])),
        ):
            if key not in self._sizes:
                # The encoding of a list of small numbers is twice as long as its JSON.
                size += 4 * _FRAME + 2 * (len(row["service_name"]) * 2 if found is None else _row_bytes(found))
        return size


def _row_bytes(row: Any) -> int:
    """About how many bytes a definition has in memory: its texts and bytes, and eight for each other value."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
