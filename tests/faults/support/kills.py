"""An Ares that is killed again and again under load, with all its processes, and started again."""

from __future__ import annotations

from pathlib import Path

from tests.faults.support.case import Case
from tests.faults.support.chance import Chance
from tests.faults.support.load import under_load
from tests.faults.support.server import server
from tests.faults.support.site import running_site


async def ares_is_killed(case: Case, folder: Path, chance: Chance, rounds: int, *flags: str, **senders: int) -> None:
    """On a server that stays. At the end everything acknowledged must be stored once.

    Args:
        flags: options of `ares-otel up`.
        senders: as `under_load` has them.
    """
    with server() as database:
        async with running_site(folder / "data", database.url(), *flags) as site:
            async with under_load(case.oracle, site.doors, **senders) as load:
                for _ in range(rounds):
                    await load.acknowledged(100)
                    await chance.moment(0.3)
                    await site.restart()
                await load.acknowledged(100)
            await case.ends(database.url(), site)
