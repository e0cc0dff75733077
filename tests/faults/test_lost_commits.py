"""The connection to the database breaks at the worst moments of a COMMIT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.support.case import Case
from tests.faults.support.load import under_load
from tests.faults.support.pg_proxy import AtCommit, proxy
from tests.faults.support.site import running_site

both_spools = pytest.mark.parametrize("spool", [True, False], ids=["spool on", "spool off"])


@both_spools
async def test_f6_a_connection_cut_after_commit_and_before_its_reply_stores_once_and_the_sender_hears_ok(
    case: Case, database_url: str, folder: Path, spool: bool
) -> None:
    with proxy(database_url) as way:
        async with (
            running_site(folder / "data", way.url, spool=spool) as site,
            under_load(case.oracle, site.doors) as load,
        ):
            for _ in range(5):
                await load.acknowledged(200)
                way.at_next_commit(AtCommit.CUT_AFTER)
                await way.until_caught()
            await load.acknowledged(200)
            await load.stop()
            await case.ends(database_url, site)
        assert way.caught == 5
