"""Lists of series, labels and metrics, on which Prometheus's API stands."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from ares_otel.model.prometheus.selector import parse_selector
from ares_otel.query.prometheus.listing import Metadata, label_names, label_values, metadata, series
from ares_otel.storage.store import Store
from tests.support.ingested import ago, counter, gauge, send
from tests.support.otlp_samples import metrics_request
from tests.support.selected import HOUR_MS, now_ms

NAME = "http_server_request_duration_seconds"


@pytest.fixture
async def pool(emptied_database_url: str) -> AsyncIterator[asyncpg.Pool]:
    store = Store(emptied_database_url)
    await store.start()
    old = gauge("old", labels={"only": "here"}, **ago(2 * 3600))
    await send(
        store, metrics_request("shop", None, **{"host.name": "kappa"}), metrics_request("other", [old, counter("c")])
    )
    async with asyncpg.create_pool(emptied_database_url, min_size=1, max_size=3) as made:
        yield made
    await store.stop()


async def test_names_of_labels_are_listed_of_all_series_or_of_some(pool: asyncpg.Pool) -> None:
    names = await label_names(pool, [], limit=1000)
    assert names == sorted(names)
    assert {"__name__", "job", "le", "quantile", "http_route", "host_name", "only"} <= set(names)
    some = await label_names(pool, [parse_selector('{job="other"}')], limit=1000)
    assert "only" in some
    assert not {"le", "quantile", "http_route"} & set(some)
    assert "le" in await label_names(pool, [parse_selector(f"{NAME}_bucket")], limit=1000)
    assert await label_names(pool, [], limit=2) == names[:2]
    assert await label_names(pool, [parse_selector('{nobody="x"}')], limit=10) == []


async def test_values_of_labels_are_listed_of_all_series_or_of_some(pool: asyncpg.Pool) -> None:
    now = now_ms()

    async def values(name: str, *selectors: str, limit: int = 1000) -> list[str]:
        parsed = [parse_selector(text) for text in selectors]
        return await label_values(pool, name, parsed, now - HOUR_MS, now, limit=limit)

    assert await values("job") == ["other", "shop"]
    assert await values("job", limit=1) == ["other"]
    assert await values("job", "c_total") == ["other"]
    assert await values("__name__", '{job="other",__name__!="target_info"}') == ["c_total", "old"]
    assert await values("le") == ["+Inf", "0.05", "0.1", "0.25"]
    assert await values("le", f'{NAME}_bucket{{le=~"0.*"}}') == ["0.05", "0.1", "0.25"]
    assert await values("quantile") == ["0.5", "0.99"]
    assert await values("nobody") == []


async def test_series_are_listed_that_have_a_sample_in_the_range(pool: asyncpg.Pool) -> None:
    now = now_ms()
    chosen = [parse_selector('{job="other"}'), parse_selector("c_total")]

    async def names(start: int, limit: int = 10) -> list[str]:
        found = await series(pool, chosen, start, now, limit=limit)
        return [dict(labels)["__name__"] for labels in found]

    assert set(await names(now - HOUR_MS)) == {"c_total", "target_info"}
    assert set(await names(now - 3 * HOUR_MS)) == {"c_total", "old", "target_info"}
    assert len(await names(now - 3 * HOUR_MS, limit=2)) == 2


async def test_metrics_are_listed_with_type_unit_and_description(pool: asyncpg.Pool) -> None:
    found = await metadata(pool, limit=1000, limit_per_metric=10)
    assert found["http_server_requests_total"][0].type == "counter"
    assert found["http_server_requests_total"][0].help == "Requests served"
    assert found[NAME] == [Metadata("histogram", "s", found[NAME][0].help)]
    assert found["batch_duration_seconds"][0].type == "summary"
    assert found["target_info"] == [Metadata("gauge", "", "Target metadata")]
    assert not {f"{NAME}_bucket", f"{NAME}_count", f"{NAME}_sum"} & set(found)
    assert len(await metadata(pool, limit=2, limit_per_metric=1)) == 2
    assert list(await metadata(pool, metric=NAME, limit=10, limit_per_metric=1)) == [NAME]
