"""`ares-otel spool …` on real spools, by the real command."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
from google.protobuf.internal.decoder import _DecodeVarint  # type: ignore[attr-defined]

from ares_otel.model.otlp_json_decode import decode
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.storage.spool.record import SpoolRecord
from tests.support.ares_process import run_ares
from tests.support.otlp_samples import logs_request, trace_request
from tests.support.spool import a_record, opened, otlp_record, quarantined, segments


async def spool_command(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs `ares-otel spool …` on a spool."""
    return await asyncio.to_thread(run_ares, ["spool", *arguments, "--spool-dir", str(directory)])


async def append(directory: Path, records: Sequence[SpoolRecord], segment_bytes: int = 1 << 24) -> None:
    """Makes a spool, or puts more into it, and closes it."""
    with opened(directory, segment_bytes=segment_bytes) as spool:
        for record in records:
            await spool.append(record)


def damage(path: Path) -> None:
    """Changes the last byte of a file."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def contents(directory: Path) -> dict[Path, bytes]:
    """All files below a directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def test_ls_shows_what_waits_while_ares_has_the_spool(tmp_path: Path) -> None:
    await append(tmp_path, [a_record(number, items=10) for number in range(4)], segment_bytes=1)
    damage(segments(tmp_path)[1])
    with opened(tmp_path) as spool:
        await spool.append(a_record(9, signal=LOGS))
        shown = await spool_command("ls", directory=tmp_path)
        asked = await spool_command("ls", "--json", directory=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "traces/0000000000000004.seg" in shown.stdout
    rows = {row["segment"]: row for row in json.loads(asked.stdout)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "traces/0000000000000001.seg": "waiting",
        "traces/0000000000000003.seg": "waiting",
        "traces/0000000000000004.seg": "newest",
        "logs/0000000000000001.seg": "newest",
        "quarantine/traces-0000000000000002.seg": "quarantined",
    }
    first = rows["traces/0000000000000001.seg"]
    assert (first["requests"], first["items"], first["oldest"]) == (1, 10, "2023-11-14T22:13:20Z")
    assert first["bytes"] == (tmp_path / "traces/0000000000000001.seg").stat().st_size


async def test_verify_changes_nothing_and_names_every_problem(tmp_path: Path) -> None:
    await append(tmp_path, [a_record(number) for number in range(5)], segment_bytes=1)
    good = await spool_command("verify", directory=tmp_path)
    assert (good.returncode, good.stdout) == (0, "")
    files = segments(tmp_path)
    damage(files[1])
    files[3].unlink()
    before = contents(tmp_path)
    bad = await spool_command("verify", directory=tmp_path)
    asked = await spool_command("verify", "--json", directory=tmp_path)
    assert bad.returncode == asked.returncode == 1
    lines = bad.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("traces/0000000000000002.seg: Byte 48")
    assert lines[1] == "traces/0000000000000004.seg: The segment is missing."
    report = json.loads(asked.stdout)
    assert report["missing"] == ["traces/0000000000000004.seg"]
    assert sum(bool(row["problems"]) for row in report["segments"]) == 1
    assert contents(tmp_path) == before


async def test_verify_does_not_take_a_write_that_is_under_way_for_damage(tmp_path: Path) -> None:
    await append(tmp_path, [a_record(1), a_record(2)])
    [segment] = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-3])
    checked = await spool_command("verify", "--json", directory=tmp_path)
    assert checked.returncode == 0
    [row] = json.loads(checked.stdout)["segments"]
    assert row["requests"] == 1
    assert row["incomplete_bytes"] > 0


async def test_export_writes_otlp_json_lines_of_one_signal(tmp_path: Path) -> None:
    requests = [trace_request(spans=2), trace_request(spans=1, service="other")]
    await append(tmp_path, [otlp_record(TRACES, one) for one in requests] + [otlp_record(LOGS, logs_request())])
    out = tmp_path / "out.jsonl"
    done = await spool_command("export", str(out), "--signal", "traces", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [decode(line, TRACES.request) for line in out.read_bytes().splitlines()] == requests
    again = await spool_command("export", str(out), "--signal", "traces", directory=tmp_path)
    assert again.returncode == 1
    assert "exists" in again.stderr
    printed = await spool_command("export", "-", "--signal", "traces", directory=tmp_path)
    assert printed.stdout.encode() == out.read_bytes()


async def test_export_writes_protobuf_with_lengths_also_from_the_quarantine(tmp_path: Path) -> None:
    requests = [trace_request(spans=2), trace_request(spans=1, service="other"), trace_request(spans=3)]
    await append(tmp_path, [otlp_record(TRACES, one) for one in requests])
    [segment] = segments(tmp_path)
    damage(segment)
    with opened(tmp_path):
        assert quarantined(tmp_path)
    out = tmp_path / "out.bin"
    arguments = ("export", str(out), "--signal", "traces", "--format", "protobuf", "--quarantine")
    done = await spool_command(*arguments, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    data, at, found = out.read_bytes(), 0, []
    while at < len(data):
        length, at = _DecodeVarint(data, at)
        found.append(TRACES.request.FromString(data[at : at + length]))
        at += length
    assert found == requests[:2]


@pytest.mark.parametrize("command", [["ls"], ["verify"], ["export", "-", "--signal", "logs"], ["replay"]], ids=str)
async def test_a_directory_that_is_not_there_is_said(tmp_path: Path, command: list[str]) -> None:
    ended = await spool_command(*command, directory=tmp_path / "nowhere")
    assert ended.returncode == 1
    assert "--spool-dir" in ended.stderr
    assert not (tmp_path / "nowhere").exists()


async def test_the_spool_is_below_the_data_directory_unless_it_is_named(tmp_path: Path) -> None:
    await append(tmp_path / "spool", [a_record(1)])
    ended = await asyncio.to_thread(run_ares, ["spool", "ls", "--json", "--data-dir", str(tmp_path)])
    assert len(json.loads(ended.stdout)) == 1


async def test_replay_is_refused_while_somebody_has_the_spool(tmp_path: Path, database_url: str) -> None:
    with opened(tmp_path):
        ended = await spool_command("replay", "--database-url", database_url, directory=tmp_path)
    assert ended.returncode == 1
    assert "in use by process" in ended.stderr


async def test_replay_stores_everything_once(tmp_path: Path, database_url: str) -> None:
    records = [
        otlp_record(TRACES, trace_request(spans=3)),
        otlp_record(TRACES, trace_request(spans=2)),
        otlp_record(LOGS, logs_request()),
    ]
    logs = records[2].items
    await append(tmp_path, records)
    arguments = ("replay", "--json", "--database-url", database_url)
    done = await spool_command(*arguments, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"stored": 5 + logs, "deduplicated": 0, "rejected": 0, "failed": 0}
    assert not segments(tmp_path)
    await append(tmp_path, records[1:2])
    again = await spool_command(*arguments, directory=tmp_path)
    assert json.loads(again.stdout) == {"stored": 0, "deduplicated": 2, "rejected": 0, "failed": 0}
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM service_spans") == 5
        assert await connection.fetchval("SELECT count(*) FROM service_logs") == logs
    finally:
        await connection.close()


async def test_replay_starts_the_embedded_server_where_none_runs(data_dir: Path) -> None:
    await append(data_dir / "spool", [otlp_record(TRACES, trace_request(spans=3))])
    ended = await asyncio.to_thread(run_ares, ["spool", "replay", "--data-dir", str(data_dir)])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("3 items were stored, 0 had been stored before")
    assert not segments(data_dir / "spool")


async def test_replay_keeps_what_the_database_does_not_take(tmp_path: Path) -> None:
    await append(tmp_path, [otlp_record(TRACES, trace_request(spans=3))])
    ended = await spool_command("replay", "--database-url", "postgresql://a@127.0.0.1:1/b", directory=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert len(segments(tmp_path)) == 1
