"""Data that the database refuses, files that are damaged, clocks that jump, configurations that are wrong."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from ares_otel.model.signal import LOGS, TRACES
from tests.faults.support.account import read_metrics, spool_is_empty
from tests.faults.support.answers import GrpcDoor
from tests.faults.support.case import Case
from tests.faults.support.items import POISON, Maker
from tests.faults.support.load import under_load
from tests.faults.support.oracle import State
from tests.faults.support.pg_proxy import proxy
from tests.faults.support.shim import shim
from tests.faults.support.site import running_site
from tests.support.ares_process import run_ares
from tests.support.eventually import eventually

_CHECKS = (
    f"ALTER TABLE service_spans ADD CONSTRAINT no_poison CHECK (operation_name <> '{POISON}')",
    f"ALTER TABLE service_logs ADD CONSTRAINT no_poison CHECK (message <> '{POISON}')",
)


async def poisoned(connection: asyncpg.Connection) -> None:
    """From now on the database refuses what the suite calls poison."""
    for check in _CHECKS:
        await connection.execute(check)


async def refused(connection: asyncpg.Connection, *, told: bool) -> int:
    """Items that were set aside, each with its reason, its code and its bytes."""
    rows = await connection.fetch("SELECT * FROM ingest_rejected WHERE told = $1", told)
    for row in rows:
        assert (row["sqlstate"], row["items"]) == ("23514", 1)
        assert "no_poison" in row["reason"]
        signal = {one.name: one for one in (TRACES, LOGS)}[row["signal"]]
        assert signal.count(signal.request.FromString(row["payload"])) == 1
        assert POISON.encode() in row["payload"]
    return len(rows)


async def test_f18_a_poisoned_row_among_the_requests_of_20_clients_fails_alone(
    case: Case, database_url: str, folder: Path
) -> None:
    """20 clients send 400 items each at the same moment, 8,000 in all; one row in one of them is poison."""
    connection = await asyncpg.connect(database_url)
    await poisoned(connection)
    async with running_site(folder / "data", database_url) as site:
        for turn in range(3):
            requests = [
                Maker(case.oracle.run, f"client-{turn}-{n}").request(
                    TRACES, 400, poison=frozenset({200} if n == 7 else ())
                )
                for n in range(20)
            ]
            doors = [GrpcDoor(site.doors.grpc[0]) for _ in requests]
            told = [case.oracle.sends(request) for request in requests]
            answers = await asyncio.gather(
                *(asyncio.to_thread(door.send, request, 60) for door, request in zip(doors, requests, strict=True))
            )
            for one, answer, door in zip(told, answers, doors, strict=True):
                case.oracle.hears(one, answer.state, answer.rejected)
                door.close()
            assert [answer.state for answer in answers] == [State.ACKNOWLEDGED] * 20
            assert [answer.rejected for answer in answers] == [0] * 7 + [1] + [0] * 12
            assert "23514" in answers[7].reason
        assert await refused(connection, told=True) == 3
        await connection.close()
        await case.ends(database_url, site)


@pytest.mark.long_faults
async def test_f18_poison_under_load_is_told_exactly_and_told_again_on_a_retry(
    case: Case, database_url: str, folder: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    await poisoned(connection)
    async with running_site(folder / "data", database_url) as site:
        async with under_load(case.oracle, site.doors, signals=(TRACES, LOGS), poison_every=3, repeat_every=1) as load:
            await load.acknowledged(1000)
            await site.restart()
            await load.acknowledged(500)
        totals = await case.ends(database_url, site)
        assert totals.rejected > 0
        assert await refused(connection, told=True) == totals.rejected
    await connection.close()


async def test_f18_poison_that_was_acknowledged_from_the_spool_is_set_aside_and_counted_apart(
    case: Case, database_url: str, folder: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    await poisoned(connection)
    case.oracle.rejected_later = True
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url) as site:
            way.away()
            async with under_load(case.oracle, site.doors, signals=(TRACES, LOGS), poison_every=3) as load:
                await load.acknowledged(1000)
            way.back()
            totals = await case.ends(database_url, site)
            assert await refused(connection, told=False) == totals.rejected > 0
            metrics = await read_metrics(site.api)
            assert metrics.sum("ares_otel_spool_items_total", outcome="rejected") == totals.rejected
            await case.doctor_agrees(database_url, site)
    await connection.close()


def flip_a_byte(segments: list[Path]) -> None:
    """One byte in the middle of the first segment."""
    data = bytearray(segments[0].read_bytes())
    data[len(data) // 2] ^= 0xFF
    segments[0].write_bytes(data)


def cut_in_half(segments: list[Path]) -> None:
    os.truncate(segments[0], segments[0].stat().st_size // 2)


def empty(segments: list[Path]) -> None:
    os.truncate(segments[0], 0)


def delete(segments: list[Path]) -> None:
    segments[len(segments) // 2].unlink()


@pytest.mark.long_faults
@pytest.mark.parametrize(
    "damage", [flip_a_byte, cut_in_half, empty, delete], ids=["a byte is flipped", "cut in half", "empty", "deleted"]
)
async def test_a_damaged_segment_of_the_spool_is_reported_and_all_the_others_are_replayed(
    case: Case, database_url: str, folder: Path, damage: Callable[[list[Path]], None]
) -> None:
    """Damage to files that were safely on the disk loses what was in the damaged place, and says so. No promise covers
    that: what is gone counts as unknown here, and whatever else was acknowledged has to be there."""
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url) as site:
            way.away()
            load = under_load(case.oracle, site.doors, signals=(TRACES,), repeat_every=0, items=10, size=80_000)
            async with load as senders:
                await senders.acknowledged(600)  # a segment has 16 MiB
            site.kill()
            segments = sorted((folder / "data" / "spool" / "traces").glob("*.seg"))
            assert len(segments) >= 3
            damage(segments)
            way.back()
            counted = []
            for _ in range(2):
                await site.start()
                await spool_is_empty(site.api)
                counted.append((await read_metrics(site.api)).sum("ares_otel_spool_items_total", outcome="lost"))
                await site.stop()
            await site.start()
            gone = await case.oracle.forgives(database_url, TRACES)
            told = [line for line in site.stderr.splitlines() if "ares_otel.spool" in line and "segment" in line]
            assert told, site.stderr
            print(f"{len(segments)} segments, {told}")
            print(f"{gone} items are gone, {counted} were counted as lost at the starts")
            await case.ends(database_url, site)


async def test_f23_a_clock_that_jumps_an_hour_forth_and_back_loses_and_doubles_nothing(
    case: Case, database_url: str, folder: Path
) -> None:
    with proxy(database_url) as way, shim(folder / "nowhere") as clock:
        async with running_site(folder / "data", way.url, env=clock.env) as site:
            async with under_load(case.oracle, site.doors) as load:
                for hours in (1, -1, 0):
                    await load.acknowledged(200)
                    clock.set(clock_offset_ms=hours * 3_600_000)
                    await load.acknowledged(200)
                    way.away()  # also while requests go through the spool
                    await load.acknowledged(200)
                    way.back()
                await load.acknowledged(200)
            await case.ends(database_url, site)


async def test_f23_a_retry_is_recognised_although_the_clock_of_ares_was_two_days_slow_at_first(
    case: Case, database_url: str, folder: Path
) -> None:
    """A machine without a battery begins in the past until it hears of the time; meanwhile old receipts are cleared
    away by a process whose clock is right."""
    request = Maker(case.oracle.run, "slow-clock").request(LOGS, 10)
    with shim(folder / "nowhere") as clock:
        clock.set(clock_offset_ms=-2 * 86_400_000)
        async with running_site(folder / "data", database_url, env=clock.env) as site:
            door = GrpcDoor(site.doors.grpc[0])
            told = case.oracle.sends(request)
            first = await asyncio.to_thread(door.send, request, 30)
            case.oracle.hears(told, first.state, first.rejected)
            clock.set()
            words = ["partitions", "run", "--database-url", database_url, "--data-dir", str(folder / "other")]
            done = await asyncio.to_thread(run_ares, words)
            assert done.returncode == 0, done.stderr
            assert await asyncio.to_thread(door.send, request, 30) == first
            door.close()
            await case.ends(database_url, site)


async def test_f24_a_wrong_configuration_at_a_reload_leaves_the_old_one_running_under_load(
    case: Case, database_url: str, folder: Path
) -> None:
    default = (Path(__file__).parents[2] / "collector" / "ares.yaml").read_text()
    wrong, right = "The configuration was not changed", "was read again and is in force"
    reloads = [
        ("receivers: [", wrong),
        (default.replace("postgres", "postgrse"), wrong),
        (default, right),
        ("", wrong),
        (default, right),
    ]
    config = folder / "ares.yaml"
    config.write_text(default)
    async with running_site(folder / "data", database_url, "--config", str(config)) as site:
        async with under_load(case.oracle, site.doors) as load:
            for text, said in reloads:
                await load.acknowledged(100)
                before = site.stderr.count(said)
                config.write_text(text)
                os.kill(site.process.pid, signal.SIGHUP)

                async def heard(said: str = said, before: int = before) -> bool:
                    return site.stderr.count(said) > before

                await eventually(heard, every=0.02)
            await load.acknowledged(200)
        await case.ends(database_url, site)
