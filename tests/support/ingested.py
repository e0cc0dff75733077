"""What `/metrics/ingested` answers, and the requests that tests send before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Histogram, Metric, Sum
from prometheus_client import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ares_otel.storage.store import Store
from tests.support.api import Api
from tests.support.otlp_samples import CUMULATIVE, batch_of, histogram_point, number_point, pairs

PATH = "/metrics/ingested"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
UTF8 = "escaping=allow-utf-8"
LEFT_OUT = "ares_otel_exposition_left_out_series"
JOINED = "ares_otel_exposition_joined_labels"
EMPTY_SUMS = "ares_otel_exposition_zero_count_nonzero_sum"


async def send(store: Store, *requests: ExportMetricsServiceRequest) -> None:
    for request in requests:
        await store.consume(batch_of(request))


async def post(otlp_http: str, request: ExportMetricsServiceRequest) -> None:
    """Sends metrics to a running Ares, by the address of its OTLP/HTTP door."""
    headers = {"Content-Type": "application/x-protobuf"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{otlp_http}/v1/metrics", content=request.SerializeToString(), headers=headers)
    assert answer.status_code == 200, answer.text


async def ask(api: Api, accept: str = "", **params: Any) -> httpx.Response:
    """The answer; parameters that end in `_` are lists: `match_` is `match[]`."""
    named = {f"{name[:-1]}[]" if name.endswith("_") else name: value for name, value in params.items()}
    return await api.client.get(PATH, params=named, headers={"Accept": accept, "Accept-Encoding": "identity"})


async def families(api: Api, accept: str = "", **params: Any) -> dict[str, Family]:
    """The families of an answer by name, but Ares's own about the answer, as the official parsers read them."""
    answer = await ask(api, accept, **params)
    assert answer.status_code == 200, answer.text
    parse = parse_openmetrics if "openmetrics" in accept else parse_text
    found = list(parse(answer.text))
    assert len({family.name for family in found}) == len(found), "a family is there twice"
    return {family.name: family for family in found if family.name not in (LEFT_OUT, JOINED, EMPTY_SUMS)}


async def left_out(api: Api, **params: Any) -> dict[str, float]:
    """Reasons with the number of series that were left out for them, but those without any."""
    answer = await ask(api, **params)
    for family in parse_text(answer.text):
        if family.name == LEFT_OUT:
            return {sample.labels["reason"]: sample.value for sample in family.samples if sample.value}
    raise AssertionError("the answer does not tell what it leaves out")


def gauge(name: str = "queue.length", value: float = 3.5, unit: str = "", **point: Any) -> Metric:
    attributes = pairs(point.pop("labels", {}))
    return Metric(name=name, unit=unit, gauge=Gauge(data_points=[number_point(value, attributes=attributes, **point)]))


def counter(name: str = "orders.placed", value: float = 7, unit: str = "", **point: Any) -> Metric:
    attributes = pairs(point.pop("labels", {}))
    data = Sum(
        data_points=[number_point(value, attributes=attributes, **point)],
        aggregation_temporality=CUMULATIVE,
        is_monotonic=True,
    )
    return Metric(name=name, unit=unit, sum=data)


def histogram(name: str = "http.server.request.duration", unit: str = "s", **point: Any) -> Metric:
    data = Histogram(data_points=[histogram_point(**point)], aggregation_temporality=CUMULATIVE)
    return Metric(name=name, unit=unit, histogram=data)


def samples(family: Family) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Values by name and the labels that are not about who sent them."""
    about_sender: Sequence[str] = ("job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url")
    return {
        (
            sample.name,
            tuple(sorted((name, value) for name, value in sample.labels.items() if name not in about_sender)),
        ): sample.value
        for sample in family.samples
    }


def ago(seconds: float) -> dict[str, Any]:
    """The time of a point that is so old."""
    return {"time_unix_nano": time.time_ns() - round(seconds * 1e9)}
