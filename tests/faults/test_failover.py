"""The primary dies and its standby takes over, with everything that was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ares_otel.model.signal import LOGS, TRACES
from tests.faults.support.case import Case
from tests.faults.support.load import under_load
from tests.faults.support.marks import both_spools
from tests.faults.support.pg_proxy import Proxy, proxy
from tests.faults.support.server import Server, open_folder, server
from tests.faults.support.site import Site, quiet, running_site

pytestmark = [pytest.mark.long_faults, pytest.mark.timeout(300)]

_REPLICATED = ["wal_level=replica", "max_wal_senders=4", "hot_standby=on"]


@dataclass
class Pair:
    """A primary, a standby that confirms every commit (`remote_apply`), and the address behind which one of them is, as
    with a virtual IP address or a load balancer; Ares knows the address only."""

    primary: Server
    standby: Server
    link: Proxy
    """The way of the write-ahead log from the one to the other."""
    way: Proxy
    site: Site

    async def standby_takes_over(self) -> None:
        """The primary is gone, and a failover manager does its work."""
        await asyncio.to_thread(self.primary.kill)
        self.link.cut()
        self.way.leads_to(self.standby.url())  # read-only: 25006
        await self.standby.execute("SELECT pg_promote()", database="postgres")


@contextlib.asynccontextmanager
async def a_pair(folder: Path, *, spool: bool) -> AsyncIterator[Pair]:
    """A pair with an Ares in front of it."""
    with (
        server(_REPLICATED) as primary,
        open_folder("ares-fault-standby-") as place,
        proxy(primary.url()) as way,
        proxy(primary.url()) as link,
    ):
        # Ares migrates while there is no standby yet, and makes no spans of its own: nobody else's commits wait.
        async with running_site(folder / "data", way.url, "--config", str(quiet(folder)), spool=spool) as site:
            standby = Server(place, _REPLICATED)
            try:
                await asyncio.to_thread(standby.copy_of, link.port)
                await asyncio.to_thread(standby.start)
                await primary.execute(
                    "ALTER SYSTEM SET synchronous_standby_names = '*'",
                    "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
                    "SELECT pg_reload_conf()",
                )
                await primary.has_standby()
                yield Pair(primary, standby, link, way, site)
            finally:
                standby.kill()


@both_spools
async def test_f15_a_failover_to_a_synchronous_standby_loses_nothing_that_was_acknowledged(
    case: Case, folder: Path, spool: bool
) -> None:
    async with a_pair(folder, spool=spool) as pair:
        async with under_load(case.oracle, pair.site.doors) as load:
            await load.acknowledged(500)
            await asyncio.to_thread(pair.primary.kill)
            pair.way.leads_to(pair.standby.url())  # read-only: 25006
            await load.feels_an_outage(spool=spool)
            await pair.standby_takes_over()
            await load.acknowledged(500)
        await case.ends(pair.standby.url(), pair.site)
        await case.used_the_spool(pair.site, spool=spool)


@both_spools
async def test_f15_a_standby_that_fell_silent_before_it_takes_over_lacks_nothing_that_was_acknowledged(
    case: Case, folder: Path, spool: bool
) -> None:
    """While the standby is silent no commit is confirmed. A transaction whose wait for it is given up stays in the
    primary, for all to see, and is no reason to say OK."""
    async with a_pair(folder, spool=spool) as pair:
        async with under_load(case.oracle, pair.site.doors, attempt_seconds=30) as load:
            await load.acknowledged(300)
            pair.link.black_hole = True
            before = load.refusals
            if spool:
                await load.acknowledged(2000)
            else:
                await load.refused(6)
            print(f"{load.refusals - before} attempts failed while the standby was silent")
            await pair.standby_takes_over()
            await load.acknowledged(300)
        await case.ends(pair.standby.url(), pair.site)


async def test_f15_a_commit_that_nobody_confirmed_is_no_reason_to_say_ok_after_a_restart_of_the_primary(
    case: Case, folder: Path
) -> None:
    """Three commits wait for a silent standby when the primary restarts: then they are there for all to see, and still
    nobody has confirmed them. Their senders ask again. The primary dies, and the standby, without them, takes over."""
    async with a_pair(folder, spool=False) as pair:
        async with under_load(case.oracle, pair.site.doors, signals=(TRACES, LOGS), attempt_seconds=60) as load:
            await load.acknowledged(300)
            pair.link.black_hole = True
            await pair.primary.waits_for_its_standby(3)
            await asyncio.to_thread(pair.primary.stop, "immediate")
            await asyncio.to_thread(pair.primary.start)
            await pair.primary.waits_for_its_standby()
            await load.refused(6)
            await pair.standby_takes_over()
            await load.acknowledged(300)
        await case.ends(pair.standby.url(), pair.site)
