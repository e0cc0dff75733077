"""`ares-otel up --workers 2` under load: workers are killed, their supervisor is killed, the database goes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.support.account import read_metrics
from tests.faults.support.case import Case
from tests.faults.support.chance import Chance
from tests.faults.support.kills import ares_is_killed
from tests.faults.support.load import under_load
from tests.faults.support.marks import long_faults
from tests.faults.support.server import server
from tests.faults.support.site import Site, running_site
from tests.support.eventually import eventually

WORKERS = ("--workers", "2")


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> Chance:
    return Chance(seed, request.node.name)


async def all_ready(site: Site) -> None:
    async def look() -> bool:
        return (await read_metrics(site.api)).sum("ares_otel_workers", state="ready") == 2

    await eventually(look, seconds=90, every=0.05)


@pytest.mark.parametrize("rounds", [pytest.param(2, id="2 rounds"), long_faults(50, seconds=1200, id="50 rounds")])
async def test_a_worker_killed_again_and_again_loses_and_doubles_nothing_while_the_other_goes_on(
    case: Case, database_url: str, folder: Path, chance: Chance, rounds: int
) -> None:
    async with running_site(folder / "data", database_url, *WORKERS) as site:
        async with under_load(case.oracle, site.doors, grpc=3, http=2) as load:
            for _ in range(rounds):
                await load.acknowledged(200)
                await chance.moment(0.3)
                chance.pick(*site.process.workers).kill()
                await load.acknowledged(200)
                await all_ready(site)
            await load.acknowledged(200)
        await case.ends(database_url, site)


@pytest.mark.timeout(1200)
@pytest.mark.long_faults
@pytest.mark.parametrize("rounds", [20], ids=["20 rounds"])
async def test_a_supervisor_killed_with_its_workers_at_random_moments_loses_and_doubles_nothing(
    case: Case, folder: Path, chance: Chance, rounds: int
) -> None:
    await ares_is_killed(case, folder, chance, rounds, *WORKERS)


@pytest.mark.timeout(600)
@pytest.mark.long_faults
async def test_workers_killed_while_the_database_is_away_have_what_they_acknowledged_stored_when_it_is_back(
    case: Case, folder: Path, chance: Chance
) -> None:
    """Their spools are taken up by the next ones, or, when there are fewer of them then, by the supervisor."""
    with server() as database:
        async with running_site(folder / "data", database.url(), *WORKERS) as site:
            async with under_load(case.oracle, site.doors, grpc=3, http=2) as load:
                await load.acknowledged(200)
                database.kill()
                await load.acknowledged(300)
                chance.pick(*site.process.workers).kill()
                await load.acknowledged(300)
                database.start()
                await all_ready(site)
                await load.acknowledged(200)
                database.kill()
                await load.acknowledged(300)
                site.kill()
                database.start()
                await site.start()
                await load.acknowledged(100)
            await case.ends(database.url(), site)
