"""What waits in the spool gets into the database exactly once, whoever else stores it and whoever dies meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from ares_otel.model.signal import LOGS, TRACES
from tests.faults.support.account import read_metrics, spool_is_empty
from tests.faults.support.answers import GrpcDoor
from tests.faults.support.case import Case
from tests.faults.support.chance import Chance
from tests.faults.support.items import POISON, Maker
from tests.faults.support.load import under_load
from tests.faults.support.marks import both_spools, long_faults
from tests.faults.support.oracle import State
from tests.faults.support.pg_proxy import AtCommit, proxy
from tests.faults.support.site import both_doors, running_site


async def test_requests_that_wait_in_the_spool_of_one_ares_and_are_repeated_at_another_are_stored_once(
    case: Case, database_url: str, folder: Path
) -> None:
    """The first Ares has lost the database, the second has not; every request is sent once more, at the other one."""
    with proxy(database_url) as way:
        async with (
            running_site(folder / "first", way.url) as first,
            running_site(folder / "second", database_url) as second,
        ):
            async with under_load(case.oracle, both_doors(first, second), repeat_every=1) as load:
                for _ in range(2):
                    await load.acknowledged(300)
                    way.away()
                    await load.acknowledged(600)
                    way.back()
                await load.acknowledged(300)
            await case.ends(database_url, first, second)
            await case.used_the_spool(first, spool=True)
            metrics = await read_metrics(first.api)
            assert metrics.sum("ares_otel_spool_items_total", outcome="deduplicated") > 0


@pytest.mark.parametrize("rounds", [pytest.param(2, id="2 rounds"), long_faults(20, seconds=900, id="20 rounds")])
async def test_ares_killed_while_it_replays_its_spool_goes_on_where_it_was(
    case: Case, database_url: str, folder: Path, seed: int, rounds: int
) -> None:
    chance = Chance(seed, "replay")
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url) as site:
            async with under_load(case.oracle, site.doors) as load:
                for _ in range(rounds):
                    way.away()
                    await load.acknowledged(1000)
                    way.back()
                    await chance.moment(1.5)
                    await site.restart()
                await load.acknowledged(100)
            await case.ends(database_url, site)


@both_spools
async def test_f6_a_commit_of_which_nobody_can_learn_the_outcome_is_stored_once_when_the_database_is_back(
    case: Case, database_url: str, folder: Path, spool: bool
) -> None:
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url, spool=spool) as site:
            async with under_load(case.oracle, site.doors, repeat_every=1) as load:
                for _ in range(3):
                    await load.acknowledged(200)
                    way.at_next_commit(AtCommit.CUT_AFTER_AND_AWAY)
                    await way.until_caught()
                    await load.feels_an_outage(spool=spool)
                    way.back()
                await load.acknowledged(200)
            await case.ends(database_url, site)
            await case.used_the_spool(site, spool=spool)


async def test_a_stop_while_the_database_is_away_is_clean_and_the_next_start_replays(
    case: Case, database_url: str, folder: Path
) -> None:
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url) as site:
            async with under_load(case.oracle, site.doors) as load:
                await load.acknowledged(200)
                way.away()
                await load.acknowledged(500)
                await site.stop()
                way.back()
                await site.start()
                await load.acknowledged(200)
            await case.ends(database_url, site)
            metrics = await read_metrics(site.api)
            assert metrics.sum("ares_otel_spool_items_total", outcome="found") > 0


async def test_a_sender_that_was_told_ok_from_the_spool_hears_ok_again_although_an_item_had_been_refused(
    case: Case, database_url: str, folder: Path
) -> None:
    """The database had refused one item and committed the others; its answer was lost and it could not be asked. So the
    request went to the spool, and the first answer was a plain OK."""
    case.oracle.rejected_later = True
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"ALTER TABLE service_spans ADD CONSTRAINT no_poison CHECK (operation_name <> '{POISON}')")
    request = Maker(case.oracle.run, "poison").request(TRACES, 10, poison=frozenset({3}))
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url) as site:
            door = GrpcDoor(site.doors.grpc[0])
            told = case.oracle.sends(request)
            way.at_next_commit(AtCommit.CUT_AFTER_AND_AWAY)
            first = await asyncio.to_thread(door.send, request, 30)
            assert (first.state, first.rejected) == (State.ACKNOWLEDGED, 0)
            case.oracle.hears(told, first.state, first.rejected)
            way.back()
            await spool_is_empty(site.api)
            assert await asyncio.to_thread(door.send, request, 30) == first
            door.close()
            assert await connection.fetch("SELECT told, items FROM ingest_rejected") == [(False, 1)]
            await case.ends(database_url, site)
    await connection.close()


async def test_definitions_that_a_failover_lost_are_written_again_for_what_comes_after_it(
    database_url: str, folder: Path
) -> None:
    """An asynchronous standby, or a backup, lacks the last resources, scopes and series. Points that come after the
    failover refer to them and have to be found."""
    with proxy(database_url) as way:
        async with running_site(folder / "data", way.url) as site:
            door = GrpcDoor(site.doors.grpc[0])
            maker = Maker("definitions", "same")
            for turn in range(2):
                for signal in (TRACES, LOGS):
                    request = maker.request(signal, 1)
                    assert (await asyncio.to_thread(door.send, request, 30)).state is State.ACKNOWLEDGED
                if turn == 0:
                    connection = await asyncpg.connect(database_url)
                    await connection.execute("DELETE FROM otel_resources; DELETE FROM otel_scopes")
                    way.cut()
            orphans = await connection.fetchval(
                "SELECT count(*) FROM v_spans WHERE service_name = 'fault-definitions' AND resource_attributes IS NULL"
            )
            await connection.close()
            door.close()
            assert orphans == 0
