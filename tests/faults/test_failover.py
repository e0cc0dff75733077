"""The primary dies and its standby takes over, with everything that was acknowledged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.support.case import Case
from tests.faults.support.load import under_load
from tests.faults.support.marks import both_spools
from tests.faults.support.pg_proxy import proxy
from tests.faults.support.server import Server, open_folder, server
from tests.faults.support.site import running_site


@pytest.mark.long_faults
@both_spools
async def test_f15_a_failover_to_a_synchronous_standby_loses_nothing_that_was_acknowledged(
    case: Case, folder: Path, spool: bool
) -> None:
    """The address stays, as with a virtual IP address or a load balancer: first the primary is behind it, then a
    standby that still is read-only, then the same one as primary."""
    with (
        server(["wal_level=replica", "max_wal_senders=4"]) as primary,
        open_folder("ares-fault-standby-") as place,
        proxy(primary.url()) as way,
    ):
        async with running_site(folder / "data", way.url, spool=spool) as site:  # migrates, while there is no standby
            standby = Server(place, ["wal_level=replica", "max_wal_senders=4", "hot_standby=on"])
            await asyncio.to_thread(standby.copy_of, primary)
            try:
                await asyncio.to_thread(standby.start)
                await primary.execute(
                    "ALTER SYSTEM SET synchronous_standby_names = '*'",
                    "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
                    "SELECT pg_reload_conf()",
                )
                await primary.has_standby()
                async with under_load(case.oracle, site.doors) as load:
                    way.cut()  # settings of a session are those of its beginning
                    await load.acknowledged(500)
                    await asyncio.to_thread(primary.kill)
                    way.leads_to(standby.url())  # read-only: 25006
                    await load.feels_an_outage(spool=spool)
                    await standby.execute("SELECT pg_promote()", database="postgres")
                    await load.acknowledged(500)
                await case.ends(standby.url(), site)
                await case.used_the_spool(site, spool=spool)
            finally:
                standby.kill()
