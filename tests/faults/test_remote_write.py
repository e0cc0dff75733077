"""Remote write is as durable as OTLP: a sender that repeats what was not answered finds everything stored, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.support.case import Case
from tests.faults.support.chance import Chance
from tests.faults.support.kills import ares_is_killed
from tests.faults.support.load import under_load
from tests.faults.support.marks import both_spools, long_faults
from tests.faults.support.server import server
from tests.faults.support.site import running_site

WRITERS = {"grpc": 0, "http": 0, "write": 3}


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> Chance:
    return Chance(seed, request.node.name)


@pytest.mark.parametrize("rounds", [pytest.param(3, id="3 rounds"), long_faults(50, seconds=1200, id="50 rounds")])
@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["one process", "two workers"])
async def test_ares_killed_at_random_moments_loses_and_doubles_nothing_that_was_written(
    case: Case, folder: Path, chance: Chance, rounds: int, flags: tuple[str, ...]
) -> None:
    await ares_is_killed(case, folder, chance, rounds, *flags, **WRITERS)


@both_spools
async def test_what_is_written_while_postgresql_crashes_is_stored_once(case: Case, folder: Path, spool: bool) -> None:
    with server() as database:
        async with running_site(folder / "data", database.url(), spool=spool) as site:
            async with under_load(case.oracle, site.doors, **WRITERS) as load:
                await load.acknowledged(200)
                await asyncio.to_thread(database.stop, "immediate")
                await load.feels_an_outage(spool=spool)
                await asyncio.to_thread(database.start)
                await load.acknowledged(200)
            await case.ends(database.url(), site)
            await case.used_the_spool(site, spool=spool)
            await case.doctor_agrees(database.url(), site)
