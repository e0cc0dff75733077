"""Every setting `prometheus.*` reaches the translation of stored series, and none takes what makes no sense."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import asyncpg
import pytest

from ares_otel.cli.prometheus_index import SECTION, series_index
from ares_otel.control.config.schema import ARES, KNOWN, problem_of
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.query.prometheus.indexing import State, catch_up
from ares_otel.query.prometheus.translation import config_of
from ares_otel.query.reader import reading
from ares_otel.storage.store import Store
from tests.support.ingested import gauge, send
from tests.support.managed_config import arrives, managed, put
from tests.support.otlp_samples import metrics_request
from tests.support.selected import chosen

SETTINGS: dict[str, Any] = {
    "translation_strategy": "NoTranslation",
    "promote_resource_attributes": ["host.name"],
    "keep_identifying_resource_attributes": True,
    "promote_scope_metadata": False,
    "label_name_underscore_sanitization": False,
    "label_name_preserve_multiple_underscores": False,
    "type_and_unit_labels": True,
    "unit_table": "2",
}
EXCLUDED = {"promote_all_resource_attributes": True, "ignore_resource_attributes": ["a"]}
"""By one of the others."""


@pytest.mark.every_server
async def test_every_setting_is_in_force_without_a_restart(database_url: str, sql: asyncpg.Connection) -> None:
    store = Store(database_url)
    await store.start()
    await send(store, metrics_request("orders", [gauge("disk.io", unit="By")], **{"host.name": "kappa"}))
    async with (
        asyncpg.create_pool(database_url, min_size=1, max_size=3) as pool,
        managed(database_url, services=[ARES], check=problem_of) as manager,
    ):
        job = series_index(store, manager, Telemetry(), pooled=False)

        async def in_force() -> State:
            assert await job.run()
            async with reading(pool) as reader:
                return await catch_up(reader)

        assert (await in_force()).config == config_of({})
        assert len((await chosen(pool, "disk_io_bytes")).labels) == 1
        for name, value in SETTINGS.items():
            await put(sql, SECTION + name, value, service=ARES)
            await arrives(manager, SECTION + name, value)
            found = asdict((await in_force()).config)[name]
            assert (list(found) if isinstance(value, list) else found) == value
        [labels] = (await chosen(pool, '{"disk.io"}')).labels
        assert {"host.name": "kappa", "__type__": "gauge"}.items() <= dict(labels).items()
        await sql.execute("DELETE FROM service_config WHERE config_key LIKE 'prometheus.%'")
        await arrives(manager, SECTION + "unit_table", None)
        assert (await in_force()).config == config_of({})
        assert len((await chosen(pool, "disk_io_bytes")).labels) == 1
    await store.stop()


def test_each_setting_is_one_of_the_options_and_takes_no_nonsense() -> None:
    names = {key.removeprefix(SECTION) for service, key in KNOWN if service == ARES and key.startswith(SECTION)}
    assert names == set(SETTINGS) | set(EXCLUDED)
    assert config_of(EXCLUDED).ignore_resource_attributes == ("a",)
    for name in names:
        value = (SETTINGS | EXCLUDED)[name]
        assert problem_of(ARES, SECTION + name, value) is None
        for wrong in (7, "nonsense", {"a": 1}, [""], [1]):
            assert problem_of(ARES, SECTION + name, wrong) is not None
