"""One Parquet file, written row group by row group. Only this file imports pyarrow, which is an optional extra."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS, ARCHIVE_ID = "ares_otel.rows", "ares_otel.archive_id"

_TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "decimal": pa.decimal128(20, 0),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "double list": pa.list_(pa.float64()),
    "int64 list": pa.list_(pa.int64()),
}


class ParquetFile:
    """A file being written. Every page carries a checksum, which `read_back` verifies."""

    def __init__(
        self,
        path: Path,
        columns: Sequence[tuple[str, str]],
        metadata: Mapping[str, str],
        *,
        group_rows: int,
        group_bytes: int,
    ) -> None:
        """
        Args:
            columns: name and type of each column; the types are the keys of the table above.
            metadata: key → value, kept in the file.
            group_rows, group_bytes: a row group ends with the rows that reach one of these, and is kept in memory
                until then.
        """
        self._schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns], metadata=dict(metadata))
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", write_page_checksum=True)
        self._group_rows = group_rows
        self._group_bytes = group_bytes
        self._group: list[Any] = []
        self._rows = 0
        self._lock = threading.Lock()  # who gives up does not end what another thread still writes

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows, at least one. Raises OSError.

        Give it few at a time: making columns of rows holds the interpreter, and the event loop waits for it.
        """
        columns = zip(*rows, strict=True)
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._group.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows += len(rows)
        if (
            sum(batch.num_rows for batch in self._group) >= self._group_rows
            or sum(batch.nbytes for batch in self._group) >= self._group_bytes
        ):
            self._flush()

    def _flush(self) -> None:
        if self._group:
            table = pa.Table.from_batches(self._group)
            self._group = []
            with self._lock:
                self._writer.write_table(table, row_group_size=table.num_rows)

    def finish(self) -> int:
        """Writes the rest and the footer; the number of rows. Raises OSError."""
        self._flush()
        self._writer.add_key_value_metadata({ROWS: str(self._rows)})
        self._writer.close()
        return self._rows

    def abandon(self) -> None:
        """Ends without a whole file."""
        with self._lock, suppress(OSError, pa.ArrowException):
            self._writer.close()


def read_back(path: Path) -> int:
    """Reads every page of a file, compares the checksums and counts the rows.

    Raises:
        ValueError: it is no whole file of ours.
        OSError: it cannot be read.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = 0
            for group in range(file.num_row_groups):
                rows += file.read_row_group(group).num_rows
            expected = (file.metadata.metadata or {}).get(ROWS.encode())
    except pa.ArrowException as error:
        raise ValueError(f"{path} cannot be read back: {error}") from error
    if expected is None or int(expected) != rows:
        raise ValueError(f"{path} has {rows} rows, and should have {expected}.")
    return rows


def identity_of(path: Path) -> tuple[str, int] | None:
    """The archive id and the rows of a file, from its footer; None for what is no whole file of ours.

    Raises OSError when it cannot be read.
    """
    try:
        metadata = pq.read_metadata(path)
    except pa.ArrowException:
        return None
    found = (metadata.metadata or {}).get(ARCHIVE_ID.encode())
    return None if found is None else (found.decode(), metadata.num_rows)
