"""Ares is killed, stopped, frozen and started again under load."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.support.case import Case
from tests.faults.support.chance import Chance
from tests.faults.support.kills import ares_is_killed
from tests.faults.support.load import under_load
from tests.faults.support.marks import long_faults
from tests.faults.support.sdk_sender import sdk_senders
from tests.faults.support.server import server
from tests.faults.support.site import both_doors, running_site

many_rounds = pytest.mark.parametrize(
    "rounds", [pytest.param(5, id="5 rounds"), long_faults(50, seconds=1200, id="50 rounds")]
)


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> Chance:
    return Chance(seed, request.node.name)


@many_rounds
async def test_f2_ares_killed_at_random_moments_loses_and_doubles_nothing(
    case: Case, folder: Path, chance: Chance, rounds: int
) -> None:
    await ares_is_killed(case, folder, chance, rounds)


@pytest.mark.timeout(1200)
@pytest.mark.long_faults
@pytest.mark.parametrize("rounds", [50], ids=["50 rounds"])
async def test_f2_ares_and_postgresql_killed_together_lose_and_double_nothing(
    case: Case, folder: Path, chance: Chance, rounds: int
) -> None:
    """The embedded server dies with its Ares; what was answered from the spool and from the database is there."""
    with server() as database:
        async with running_site(folder / "data", database.url()) as site:
            async with under_load(case.oracle, site.doors) as load:
                for _ in range(rounds):
                    await load.acknowledged(100)
                    await chance.moment(0.3)
                    first, second = (
                        (site.kill, database.kill)
                        if chance.pick("ares", "server") == "ares"
                        else (
                            database.kill,
                            site.kill,
                        )
                    )
                    first()
                    second()
                    database.start()
                    await site.start()
                await load.acknowledged(100)
            await case.ends(database.url(), site)


@pytest.mark.timeout(1200)
@pytest.mark.long_faults
async def test_f2_ares_with_its_embedded_server_killed_at_random_moments_loses_and_doubles_nothing(
    case: Case, data_dir: Path, chance: Chance
) -> None:
    async with running_site(data_dir, None) as site:
        async with under_load(case.oracle, site.doors) as load:
            for _ in range(10):
                await load.acknowledged(100)
                await chance.moment(0.3)
                await site.restart()
            await load.acknowledged(100)
        await case.ends(site.process.database, site)


@pytest.mark.timeout(1200)
@pytest.mark.long_faults
@pytest.mark.parametrize("rounds", [50], ids=["50 rounds"])
async def test_f1_one_of_two_ares_on_one_database_is_killed_again_and_again_and_senders_go_to_the_other(
    case: Case, database_url: str, folder: Path, chance: Chance, rounds: int
) -> None:
    async with (
        running_site(folder / "first", database_url) as first,
        running_site(folder / "second", database_url) as second,
    ):
        async with under_load(case.oracle, both_doors(first, second)) as load:
            for number in range(rounds):
                await load.acknowledged(200)
                await chance.moment(0.2)
                victim = (first, second)[number % 2]
                victim.kill()
                await load.acknowledged(200)
                await victim.start()
        await case.ends(database_url, first, second)


@pytest.mark.long_faults
async def test_restarts_under_load_by_sigterm_and_by_sigkill_in_turn_lose_and_double_nothing(
    case: Case, database_url: str, folder: Path
) -> None:
    async with running_site(folder / "data", database_url) as site:
        async with under_load(case.oracle, site.doors) as load:
            await load.acknowledged(300)
            await site.stop()
            await site.start()
            await load.acknowledged(300)
            await site.restart()
            await load.acknowledged(300)
        await case.ends(database_url, site)


@pytest.mark.long_faults
async def test_a_frozen_ares_that_goes_on_later_stores_what_senders_repeated_meanwhile_once(
    case: Case, database_url: str, folder: Path
) -> None:
    async with running_site(folder / "data", database_url) as site:
        async with under_load(case.oracle, site.doors, attempt_seconds=0.5) as load:
            for _ in range(3):
                await load.acknowledged(200)
                site.process.signal(signal.SIGSTOP)
                await load.refused(4)
                site.process.signal(signal.SIGCONT)
            await load.acknowledged(200)
        await case.ends(database_url, site)


@pytest.mark.long_faults
async def test_official_sdk_exporters_that_retry_through_kills_have_everything_stored_once(
    case: Case, database_url: str, folder: Path
) -> None:
    async with running_site(folder / "data", database_url) as site:
        async with sdk_senders(case.oracle, site.doors, requests=40) as load:
            await load.acknowledged(200)
            await site.restart()
        await case.ends(database_url, site)
