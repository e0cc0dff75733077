"""`/prometheus/federate`: the newest sample of each chosen series, as Prometheus tells it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from google.protobuf.internal.decoder import _DecodeVarint32  # type: ignore[attr-defined]
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogram, Metric
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ares_otel.model.prometheus.proto import exposition_pb2 as pb
from ares_otel.storage.store import Store
from tests.support.api import Api, check_problem, running_api
from tests.support.ingested import ago, counter, gauge, histogram, send
from tests.support.otlp_samples import CUMULATIVE, exponential_point, metrics_request, number_point

PATH = "/prometheus/federate"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    """What each test begins with is empty."""
    return emptied_database_url


async def ask(api: Api, *match: str, accept: str = "", **params: Any) -> httpx.Response:
    query = {"match[]": list(match), **params}
    return await api.client.get(PATH, params=query, headers={"Accept": accept, "Accept-Encoding": "identity"})


async def lines(api: Api, *match: str, accept: str = "") -> list[str]:
    answer = await ask(api, *match, accept=accept)
    assert answer.status_code == 200, answer.text
    list(parse_text(answer.text))
    return answer.text.splitlines()


async def test_series_are_told_without_types_by_name_with_their_own_time(api: Api, store: Store) -> None:
    moment = ago(20)
    milliseconds = moment["time_unix_nano"] // 1_000_000
    metrics = [counter("b", 2, **moment), gauge("a", 1.5, labels={"z": "1"}, **moment), gauge("c", 3)]
    await send(store, metrics_request("orders", metrics, **{"service.instance.id": "i", "host.name": "kappa"}))
    found = await lines(api, '{__name__=~"a|b_total"}', "a")
    labels = 'instance="i",job="orders",otel_scope_name="shop.meter",otel_scope_version="2.0"'
    assert found == [
        "# TYPE a untyped",
        f'a{{{labels},z="1"}} 1.5 {milliseconds}',
        "# TYPE b_total untyped",
        f"b_total{{{labels}}} 2 {milliseconds}",
    ]


async def test_a_histogram_is_its_samples_each_of_which_can_be_chosen(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[histogram()]))
    name = "http_server_request_duration_seconds"
    found = await lines(api, f'{name}_bucket{{le=~"0.1|[+]Inf"}}', f"{name}_sum")
    assert [line for line in found if line.startswith("#")] == [
        f"# TYPE {name}_bucket untyped",
        f"# TYPE {name}_sum untyped",
    ]
    assert [re.search(r'le="([^"]*)"', line)[1] for line in found if "le=" in line] == ["+Inf", "0.1"]  # type: ignore[index]


async def test_a_series_without_an_instance_gets_an_empty_one(api: Api, store: Store) -> None:
    """So that who scrapes does not put the address of Ares there."""
    await api.pool.execute(
        "INSERT INTO service_metrics (service_name, metric_name, metric_type, metric_value) "
        "VALUES ('billing', 'n', 'gauge', 4)"
    )
    [_, line] = await lines(api, "n")
    assert line.startswith('n{instance="",job="billing"} 4 ')


async def test_only_what_a_prometheus_would_still_use_is_told(api: Api, store: Store) -> None:
    ended = gauge("ended")
    await send(
        store, metrics_request(metrics=[gauge("old", **ago(301)), gauge("young", **ago(290)), gauge("ended", **ago(9))])
    )
    ended.gauge.data_points[0].CopyFrom(number_point(None, attributes=[], flags=1))
    await send(store, metrics_request(metrics=[ended]))
    found = await lines(api, '{__name__=~"old|young|ended"}')
    assert [line for line in found if line.startswith("#")] == ["# TYPE young untyped"]


async def test_ares_does_not_federate_its_own(api: Api, store: Store) -> None:
    await send(store, metrics_request("ares-api", [gauge("own")]), metrics_request("orders", [gauge("theirs")]))
    found = await lines(api, '{__name__=~"own|theirs|target_info"}')
    assert not [line for line in found if 'job="ares-api"' in line]
    assert [line for line in found if line.startswith("theirs")]


async def test_native_histograms_are_in_protobuf_alone(api: Api, store: Store) -> None:
    data = ExponentialHistogram(data_points=[exponential_point()], aggregation_temporality=CUMULATIVE)
    await send(store, metrics_request(metrics=[Metric(name="native", exponential_histogram=data), gauge("a")]))
    found = await lines(api, '{__name__=~"a|native"}')
    assert found[0] == "# TYPE a untyped"
    assert found[2:] == ["# 1 native histograms are left out: only the protobuf format has them."]
    answer = await ask(api, '{__name__=~"a|native"}', accept=PROTOBUF)
    assert answer.headers["content-type"].startswith("application/vnd.google.protobuf")
    first, second = messages(answer.content)
    assert (first.name, first.type, first.metric[0].untyped.value) == ("a", pb.UNTYPED, 3.5)
    assert (second.name, second.type) == ("native", pb.HISTOGRAM)
    assert second.metric[0].histogram.sample_count == exponential_point().count
    assert second.metric[0].timestamp_ms
    assert {pair.name for pair in second.metric[0].label} >= {"job", "instance"}


def messages(body: bytes) -> list[pb.MetricFamily]:
    found, place = [], 0
    while place < len(body):
        size, place = _DecodeVarint32(body, place)
        found.append(pb.MetricFamily.FromString(body[place : place + size]))
        place += size
    return found


async def test_openmetrics_is_not_among_the_formats(api: Api, store: Store) -> None:
    await send(store, metrics_request(metrics=[gauge("a")]))
    answer = await ask(api, "a", accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_what_is_wrong_is_said_in_plain_text(api: Api, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await ask(api)
    assert (answer.status_code, answer.text) == (400, "no match[] parameter provided\n")
    assert answer.headers["content-type"].startswith("text/plain")
    for selector in ("{}", '{a="b"', '{a=~"("}', '{a=~".*"}'):
        answer = await ask(api, "a", selector)
        assert answer.status_code == 400
        assert "match[]" in answer.text
    assert (await ask(api, *("a" for _ in range(101)))).status_code == 400
    assert (await ask(api, "a", unknown="1")).status_code == 200
    await send(store, metrics_request(metrics=[gauge("a", labels={"n": "1"}), gauge("a", labels={"n": "2"})]))
    monkeypatch.setattr("ares_otel.query.prometheus.federate.MAX_SERIES", 1)
    answer = await ask(api, "a")
    assert answer.status_code == 422
    assert "choose fewer" in answer.text


async def test_without_the_database_it_is_503() -> None:
    async with running_api("postgresql://ares@127.0.0.1:1/none") as away:
        check_problem(await ask(away, "a"), 503)
