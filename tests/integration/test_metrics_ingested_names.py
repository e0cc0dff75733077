"""`/metrics/ingested`: names, labels and types, and what becomes of those that meet."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import ScopeMetrics

from ares_otel.storage.store import Store
from tests.support.api import Api
from tests.support.ingested import (
    JOINED,
    OPENMETRICS,
    UTF8,
    ago,
    ask,
    counter,
    families,
    gauge,
    histogram,
    left_out,
    send,
)
from tests.support.otlp_samples import metrics_request, pairs


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


async def test_two_types_under_one_name_leave_the_first(api: Api, store: Store) -> None:
    await send(store, metrics_request("first", [gauge("jobs.active", 1)]))
    await send(store, metrics_request("second", [histogram("jobs_active", unit="")]))
    found = await families(api)
    assert found["jobs_active"].type == "gauge"
    assert await left_out(api) == {"conflicts": 1}


async def test_a_sample_of_one_metric_is_not_the_name_of_another(api: Api, store: Store) -> None:
    await send(store, metrics_request("first", [histogram("wait", unit="")]))
    await send(store, metrics_request("second", [gauge("wait.count", 1), gauge("wait.bucket", 1)]))
    assert not {"wait_count", "wait_bucket"} & set(await families(api))
    assert await left_out(api) == {"conflicts": 2}


async def test_one_description_and_one_unit_stay_for_a_name(api: Api, store: Store) -> None:
    first, second = gauge("speed", 1), gauge("speed", 2, labels={"n": "2"})
    first.description, second.description = "How fast it is", "Velocity"
    await send(store, metrics_request("a", [first]))
    await send(store, metrics_request("b", [second]))
    answer = await ask(api, name_="speed")
    assert answer.text.count("# HELP") == answer.text.count("# TYPE") == 1
    family = (await families(api))["speed"]
    assert family.documentation == "How fast it is"
    assert len(family.samples) == 2


async def test_of_two_senders_with_one_identity_the_one_that_came_last_is_told_always(api: Api, store: Store) -> None:
    await send(store, metrics_request("orders", [counter(value=1000)], **{"process.pid": 1}))
    await send(store, metrics_request("orders", [counter(value=5)], **{"process.pid": 2}))
    await send(store, metrics_request("orders", [counter(value=1001)], **{"process.pid": 1}))
    found = await families(api)
    assert [sample.value for sample in found["orders_placed"].samples] == [5]
    assert [sample.labels["process_pid"] for sample in found["target_info"].samples] == ["2"]
    assert await left_out(api) == {"duplicates": 1}


async def test_two_scopes_with_one_metric_are_two_series(api: Api, store: Store) -> None:
    request = metrics_request(metrics=[gauge(value=1)])
    other = InstrumentationScope(name="other", version="3", attributes=pairs({"team": "blue"}))
    request.resource_metrics[0].scope_metrics.append(ScopeMetrics(scope=other, metrics=[gauge(value=2)]))
    await send(store, request)
    found = (await families(api))["queue_length"].samples
    assert {(s.labels["otel_scope_name"], s.labels.get("otel_scope_team"), s.value) for s in found} == {
        ("shop.meter", None, 1),
        ("other", "blue", 2),
    }
    assert len((await families(api, promote_scope_metadata="false"))["queue_length"].samples) == 1


async def test_a_name_that_has_no_form_in_prometheus_is_counted(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge("___"), gauge("fine", labels={"!!": "x"})]))
    assert await left_out(api) == {"untranslatable": 2}
    assert "___" in (await ask(api, translation_strategy="NoTranslation")).text


async def test_what_is_too_large_is_left_out_and_counted(api: Api, store: Store) -> None:
    bounds = [float(n) for n in range(5000)]
    large = [
        histogram("buckets", explicit_bounds=bounds, bucket_counts=[6] + [0] * 5000),
        gauge("label", labels={"a": "".join(map(str, range(20_000)))}),
    ]
    await send(store, metrics_request(metrics=[*large, gauge("fine")]))
    assert set(await families(api)) == {"fine", "target_info"}
    assert await left_out(api) == {"untranslatable": 2}


async def test_attributes_that_become_one_label_are_joined_and_told(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge(labels={"a.b": "1", "a-b": "2", "c": "3"})]))
    assert (await families(api))["queue_length"].samples[0].labels["a_b"] == "2;1"
    assert f"\n{JOINED} 1\n" in (await ask(api)).text


async def test_the_options_of_prometheus_are_parameters(api: Api, store: Store) -> None:
    attributes = {"host.name": "kappa", "cloud.region": "eu", "service.instance.id": "i"}
    metric = gauge("disk.io", unit="By", labels={"_private": "1", "a..b": "2"})
    await send(store, metrics_request("orders", [metric], **attributes))

    async def labels(**params: Any) -> dict[str, str]:
        [family] = (await families(api, match_='{job="orders",__name__!="target_info"}', **params)).values()
        return dict(family.samples[0].labels)

    assert {"key_private", "a__b"} <= set(await labels())
    assert "_private" in await labels(label_name_underscore_sanitization="false")
    assert "a_b" in await labels(label_name_preserve_multiple_underscores="false")
    assert "host_name" not in await labels()
    promoted = await labels(promote_resource_attributes=["host.name", "cloud.region"])
    assert (promoted["host_name"], promoted["cloud_region"]) == ("kappa", "eu")
    promoted = await labels(promote_all_resource_attributes="true", ignore_resource_attributes="host.name")
    assert promoted["cloud_region"] == "eu"
    assert "host_name" not in promoted
    assert "disk_io" in await families(api, translation_strategy="UnderscoreEscapingWithoutSuffixes")
    info = (await families(api, keep_identifying_resource_attributes="true"))["target_info"].samples[0].labels
    assert info["service_name"] == "orders"


async def test_timestamps_are_told_on_demand(api: Api, store: Store) -> None:
    metric = gauge(**ago(7))
    milliseconds = metric.gauge.data_points[0].time_unix_nano // 1_000_000
    await send(store, metrics_request(metrics=[metric]))
    for accept in ("", OPENMETRICS):
        assert (await families(api, accept))["queue_length"].samples[0].timestamp is None
        told = (await families(api, accept, timestamps="true"))["queue_length"].samples[0].timestamp
        assert float(told or 0) == pytest.approx(milliseconds / 1000, abs=1e-6)


async def test_names_outside_the_old_alphabet_are_quoted_or_escaped(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[counter("größe.gesamt", labels={"http.méthode": 'a"b\\c\nd'})]))
    found = await families(api, f"text/plain; version=1.0.0; {UTF8}", translation_strategy="NoTranslation")
    assert "größe.gesamt" in found
    assert found["größe.gesamt"].samples[0].labels["http.méthode"] == 'a"b\\c\nd'
    found = await families(api, f"{OPENMETRICS}; {UTF8}", translation_strategy="NoUTF8EscapingWithSuffixes")
    assert [sample.name for sample in found["größe.gesamt"].samples] == ["größe.gesamt_total", "größe.gesamt_created"]
    for escaping, name in {
        "": "gr__e_gesamt",
        "; escaping=dots": "gr____e_dot_gesamt",
        "; escaping=values": "U__gr_f6__df_e_2e_gesamt",
    }.items():
        assert name in await families(api, f"text/plain{escaping}", translation_strategy="NoTranslation")


async def test_numbers_that_are_none_are_told(api: Api, store: Store) -> None:
    values = {"nan": float("nan"), "inf": float("inf"), "minus": float("-inf"), "large": 2**62 + 1}
    await send(store, metrics_request(metrics=[gauge(name, value) for name, value in values.items()]))
    text = (await ask(api, promote_scope_metadata="false")).text
    for name, shown in {"nan": "NaN", "inf": "+Inf", "minus": "-Inf", "large": str(2**62 + 1)}.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
        assert line.endswith(f"}} {shown}")
    assert set(values) <= set(await families(api, OPENMETRICS))
