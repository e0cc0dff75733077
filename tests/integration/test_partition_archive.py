"""Archives: a partition is dropped only after a whole, verified Parquet file holds its rows."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ares_otel.storage.partitions import Partition, list_partitions
from ares_otel.storage.partitions import archive as archiving
from ares_otel.storage.partitions.archive import ArchiveError, archive
from ares_otel.storage.partitions.settings import RetentionSettings
from ares_otel.storage.store import Store
from tests.support.otlp_samples import batch_of, log_record, logs_request, metrics_request, span, trace_request
from tests.support.partitions import Keeper, make_partition, name_of, names
from tests.support.stored_rows import insert_log, insert_span

pq = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.every_server


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


async def today(sql: asyncpg.Connection, table: str) -> Partition:
    return next(p for p in await list_partitions(sql) if p.name == name_of(table, 0))


def as_in_the_file(column: str, value: Any) -> Any:
    """A value of the database as the archive has it."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, bytes) and column in ("span_id", "parent_span_id"):
        return value.hex()
    return value


class TestTheFile:
    @pytest.mark.parametrize("table", ["service_spans", "service_logs", "metric_samples", "metric_distributions"])
    async def test_it_holds_every_column_of_every_row(
        self, database_url: str, sql: asyncpg.Connection, tmp_path: Path, table: str
    ) -> None:
        store = Store(database_url)
        await store.start()
        odd: dict[str, Any] = {
            "s": "ü\n",
            "b": b"\x00\xff",
            "nan": math.nan,
            "i": 2**62,
            "f": 1.0,
            "deep": {"a": [1, None]},
        }
        await store.consume(batch_of(trace_request(spans=[span(), span(trace_state="a=b", start_time_unix_nano=0)])))
        await store.consume(batch_of(logs_request(records=[log_record(), log_record(body=None)], **odd)))
        await store.consume(batch_of(metrics_request(**odd)))
        await store.stop()
        partition = await today(sql, table)
        done = await archive(sql, partition, tmp_path)
        assert done.path == tmp_path / f"{partition.name}.parquet"
        assert os.listdir(tmp_path) == [done.path.name]
        kept = [dict(row) for row in await sql.fetch(f"SELECT * FROM {partition.name}")]
        found = rows_of(done.path)
        assert len(found) == len(kept) == done.rows > 0
        key = "span_id" if table == "service_spans" else "id"
        found.sort(key=lambda row: str(row[key]))
        kept.sort(key=lambda row: str(as_in_the_file(key, row[key])))
        for archived, row in zip(found, kept, strict=True):
            for column, value in row.items():
                assert archived[column] == as_in_the_file(column, value), column
            assert json.loads(archived["resource_attributes"])["service.name"] == "shop"
            assert archived["scope_name"]
        if table.startswith("metric_"):
            assert all(row["service_name"] == "shop" and row["metric_name"] and row["labels"] for row in found)

    async def test_types_are_those_that_the_docs_list(self, sql: asyncpg.Connection, tmp_path: Path) -> None:
        await insert_span(sql, 1, original_time_unix_nano=Decimal(2**64 - 1), parent=2, attributes_raw=b"raw")
        partition = await today(sql, "service_spans")
        path = (await archive(sql, partition, tmp_path)).path
        types = {field.name: str(field.type) for field in pq.read_schema(path)}
        assert types["start_time"] == "timestamp[us, tz=UTC]"
        assert types["original_time_unix_nano"] == "decimal128(20, 0)"
        assert types["trace_id"] == types["parent_span_id"] == types["attributes"] == "string"
        assert types["attributes_raw"] == types["resource_attributes_raw"] == "binary"
        assert types["start_ns"] == "int16"
        assert types["duration_ns"] == "int64"
        assert rows_of(path)[0]["original_time_unix_nano"] == 2**64 - 1
        metadata = pq.read_metadata(path).metadata
        assert metadata[b"ares_otel.rows"] == b"1"
        assert datetime.fromisoformat(metadata[b"ares_otel.range_start"].decode()) == partition.start.astimezone(UTC)

    async def test_memory_is_bounded_by_row_groups(
        self, sql: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sql.execute(
            "INSERT INTO service_logs (service_name, log_level, message, timestamp) "
            "SELECT 'orders', 'INFO', repeat('x', 100), now() FROM generate_series(1, 1000)"
        )
        monkeypatch.setattr(archiving, "GROUP_ROWS", 300)
        monkeypatch.setattr(archiving, "CHUNK_ROWS", 100)
        done = await archive(sql, await today(sql, "service_logs"), tmp_path)
        assert done.rows == 1000
        metadata = pq.read_metadata(done.path)
        assert metadata.num_row_groups >= 2
        assert max(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)) < 300 + 100
        monkeypatch.setattr(archiving, "GROUP_BYTES", 1)
        again = await archive(sql, await today(sql, "service_logs"), tmp_path)
        assert pq.read_metadata(again.path).num_row_groups >= 4

    async def test_a_file_that_holds_something_else_is_never_overwritten(
        self, sql: asyncpg.Connection, tmp_path: Path
    ) -> None:
        partition = await today(sql, "service_logs")
        await insert_log(sql)
        first = await archive(sql, partition, tmp_path)
        assert (await archive(sql, partition, tmp_path)).path == first.path, "its own earlier file is replaced"
        await sql.execute("DELETE FROM partition_jobs")  # as if it were another database
        second = await archive(sql, partition, tmp_path)
        assert second.path != first.path
        assert len(rows_of(first.path)) == len(rows_of(second.path)) == 1
        first.path.write_bytes(b"no Parquet")
        await archive(sql, partition, tmp_path)
        assert first.path.read_bytes() == b"no Parquet"


class TestBeforeDropping:
    async def test_a_partition_is_archived_and_then_dropped(
        self, database_url: str, sql: asyncpg.Connection, tmp_path: Path
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=3)
        keeper = Keeper(database_url, RetentionSettings(archive_directory=str(tmp_path)))
        await keeper.run()
        assert len(rows_of(tmp_path / f"{old.name}.parquet")) == 3
        assert [(table, rows) for table, rows, _ in keeper.counted.archives] == [("service_spans", 3)]
        assert await sql.fetchval("SELECT to_regclass($1)", old.name) is None

    async def test_nothing_is_dropped_while_the_archive_fails_and_it_stays_readable(
        self, database_url: str, sql: asyncpg.Connection, tmp_path: Path
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=3)
        place = tmp_path / "archive"
        keeper = Keeper(database_url, RetentionSettings(archive_directory=str(place)))
        await keeper.run()
        assert keeper.counted.failures == ["archive"]
        assert old.name in await names(sql)
        error = await sql.fetchval("SELECT last_error FROM partition_jobs WHERE partition_name = $1", old.name)
        assert "does not exist; create it" in error
        place.mkdir()
        await keeper.run()
        assert len(rows_of(place / f"{old.name}.parquet")) == 3
        assert old.name not in await names(sql)

    async def test_rows_that_come_between_the_archive_and_the_detach_are_archived_too(
        self, database_url: str, sql: asyncpg.Connection, tmp_path: Path
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=3)
        keeper = Keeper(database_url, RetentionSettings(archive_directory=str(tmp_path)))
        done = await archive(sql, old, tmp_path)
        assert done.rows == 3
        await insert_span(sql, 9, start_time=old.start)
        await keeper.run()
        assert len(rows_of(tmp_path / f"{old.name}.parquet")) == 4

    async def test_a_file_that_was_damaged_or_removed_is_written_again(
        self, database_url: str, sql: asyncpg.Connection, tmp_path: Path
    ) -> None:
        def remove(path: Path) -> None:
            path.unlink()

        def cut(path: Path) -> None:
            path.write_bytes(path.read_bytes()[:-20])

        for damage in (remove, cut):
            old = await make_partition(sql, "service_spans", 40, rows=3)
            done = await archive(sql, old, tmp_path)
            damage(done.path)
            keeper = Keeper(database_url, RetentionSettings(archive_directory=str(tmp_path)))
            await keeper.run()
            assert old.name not in await names(sql)
            assert [rows for _, rows, _ in keeper.counted.archives] == [3]

    async def test_a_page_that_changed_on_the_disk_does_not_pass(
        self, sql: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        partition = await today(sql, "service_logs")
        await insert_log(sql, message="needle " * 100)
        original = archiving._sync

        def damage(path: Path) -> None:
            original(path)
            if path.is_file():
                data = bytearray(path.read_bytes())
                data[len(data) // 4] ^= 1
                path.write_bytes(data)

        monkeypatch.setattr(archiving, "_sync", damage)
        with pytest.raises(ArchiveError, match="could not be archived"):
            await archive(sql, partition, tmp_path)
        assert os.listdir(tmp_path) == []

    async def test_without_pyarrow_it_says_what_to_install_and_drops_nothing(
        self, database_url: str, sql: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = await make_partition(sql, "service_spans", 40, rows=3)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        keeper = Keeper(database_url, RetentionSettings(archive_directory=str(tmp_path)))
        await keeper.run()
        assert old.name in await names(sql)
        with pytest.raises(ArchiveError, match=r"pip install 'ares-otel\[parquet\]'"):
            await archive(sql, old, tmp_path)

    async def test_a_process_that_writes_the_same_file_is_not_disturbed(
        self, sql: asyncpg.Connection, tmp_path: Path
    ) -> None:
        partition = await today(sql, "service_logs")
        done = await archive(sql, partition, tmp_path)
        identity = await sql.fetchval("SELECT archive_id FROM partition_jobs")
        with (
            archiving._work_file(tmp_path, f".{partition.name}.{identity.hex}.partial"),
            pytest.raises(ArchiveError, match="Another process writes"),
        ):
            await archive(sql, partition, tmp_path)
        assert done.path.exists()
