"""One case of the fault suite: what was promised in it, and the end that every case has."""

from __future__ import annotations

import asyncio
import itertools

import httpx
import pytest

from ares_otel.model.signal import TRACES
from tests.faults.support import account, report
from tests.faults.support.answers import GrpcDoor
from tests.faults.support.items import Maker
from tests.faults.support.oracle import Oracle, State, Totals
from tests.faults.support.site import Site
from tests.support.ares_process import run_ares
from tests.support.eventually import eventually

_FRESH = itertools.count(1)


class Case:
    """What one test sent, and to whom."""

    def __init__(self, test: pytest.Item) -> None:
        self.oracle = Oracle()
        self._test = test

    async def ends(self, url: str, *sites: Site, receipts: bool = True) -> Totals:
        """The end of every case, when the faults are over and the senders have stopped: running sites are well, their
        accounts add up, and the tables hold what was promised.

        Args:
            url: the database, without any fault in between.
            sites: those that sent; ones that do not run any more are left out.
            receipts: also compare the receipts with the tables; not where rows were dropped on purpose.
        """
        running = [site for site in sites if site.running]
        for site in running:
            await self.fresh_item_is_found(site)
            await account.spool_is_empty(site.api)
        wrong = [line for site in running for line in await account.unbalanced_for_good(site.api)]
        totals, differences = await self.oracle.compare(url)
        wrong += differences.found
        if receipts:
            wrong += await account.receipts_and_rows(url)
        report.note(self._test, totals)
        assert not wrong, "\n".join([f"run {self.oracle.run}, {totals}", *wrong])
        assert totals.sent > 0, "nothing was sent"
        return totals

    async def used_the_spool(self, *sites: Site, spool: bool) -> None:
        """Whether requests went to the spools, as they have to exactly where there are some."""
        items = sum([await account.spooled(site.api) for site in sites])
        assert (items > 0) is spool, f"{items} items went to the spool, which is {'on' if spool else 'off'}"

    async def doctor_agrees(self, url: str, site: Site) -> None:
        """`ares-otel doctor --account` says that every item is accounted for."""
        words = ["doctor", "--account", "--url", site.api, "--database-url", url]
        done = await asyncio.to_thread(run_ares, words)
        assert done.returncode == 0, done.stdout + done.stderr

    async def fresh_item_is_found(self, site: Site) -> None:
        """A span sent now is stored and can be asked for by REST."""
        request = Maker(self.oracle.run, f"fresh-{next(_FRESH)}").request(TRACES, 1)
        told = self.oracle.sends(request)
        door = GrpcDoor(site.doors.grpc[0])

        async def accepted() -> bool:
            answer = await asyncio.to_thread(door.send, request, 10.0)
            self.oracle.hears(told, answer.state, answer.rejected)
            return answer.state is State.ACKNOWLEDGED

        try:
            await eventually(accepted, seconds=60, every=0.1)
        finally:
            door.close()
        trace_id = request.items[0].digest(self.oracle.run)

        async def found() -> bool:
            path = f"{site.api}/api/v1/observability/trace/{trace_id}"
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                return (await client.get(path)).status_code == 200

        await eventually(found, seconds=60, every=0.05)
