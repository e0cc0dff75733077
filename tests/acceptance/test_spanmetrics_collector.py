"""The official Collector's `span_metrics` connector and Ares's, side by side: of the same spans and with the same
options they make the same metrics. What differs on purpose is in docs/connectors.md, and taken out here by name."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from tests.support import collector
from tests.support.eventually import eventually
from tests.support.otlp_sink import Sink, otlp_sink, values
from tests.support.parts import attributes, make_batch
from tests.support.spanmetrics import SECOND, Place

pytestmark = pytest.mark.timeout(collector.BUILD_SECONDS + 120)

FLUSH = "300ms"
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "explicit": {
        "histogram": {
            "unit": "s",
            "explicit": {"buckets": ["100us", "5ms", "50ms", "1s"]},
            "dimensions": [{"name": "url.scheme", "default": "https"}],
        },
        "dimensions": [{"name": "http.method", "default": "GET"}, {"name": "http.status_code"}, {"name": "region"}],
        "calls_dimensions": [{"name": "url.path", "default": "/ping"}, {"name": "never"}],
    },
    "coarse": {
        "histogram": {"exponential": {"max_size": 10}},
        "exclude_dimensions": ["span.name", "status.code", "collector.instance.id"],
    },
    "fine": {"histogram": {"exponential": {"max_size": 160}, "unit": "s"}, "exclude_dimensions": ["service.name"]},
    "globs": {
        "dimensions": [{"glob": "k8s.*.name"}, {"name": "region"}],
        "calls_dimensions": [{"glob": "http.{method,status_code}"}, {"glob": "db.**"}],
        "histogram": {"dimensions": [{"glob": "[u-v]rl.?????"}, {"glob": "net\\.[!a-m]*"}]},
    },
    "events": {
        "histogram": {"disable": True},
        "dimensions": [{"name": "region"}],
        "events": {
            "enabled": True,
            "dimensions": [{"name": "http.method"}, {"name": "exception.type", "default": "?"}, {"glob": "k8s.**"}],
        },
    },
    "exemplars": {"exemplars": {"enabled": True, "max_per_data_point": 1000}},
    "delta": {"aggregation_temporality": "AGGREGATION_TEMPORALITY_DELTA", "dimensions": [{"name": "region"}]},
    "limited": {"aggregation_cardinality_limit": 3, "dimensions": [{"name": "url.path"}]},
    "keyed": {"resource_metrics_key_attributes": ["service.name"]},
    "sampled": {"enable_metrics_sampling_method": True, "dimensions": [{"name": "region"}]},
    "scopes": {"include_instrumentation_scope": ["scope-1", "scope-2", ""]},
}
INSTANCE = "collector.instance.id"
KINDS = range(6)
TRACE_STATES = [
    "",
    "",
    "ot=th:8",
    "ot=th:c;rv:abcdef01234567",
    "other=1,ot=th:0",
    "ot=th:zz",
    "ot=rv:00",
    "vendor=th:8",
]


@pytest.fixture(scope="module")
def binary() -> Path:
    try:
        return collector.install()
    except collector.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with otlp_sink() as made:
        yield made


@pytest.fixture(scope="module")
def request_of_spans() -> ExportTraceServiceRequest:
    """Spans of five resources, each with a scope of its own."""
    chosen = random.Random(9)
    request = ExportTraceServiceRequest()
    for number in range(5):
        group = request.resource_spans.add()
        service = f"side-by-side-{min(number, 3)}"
        own = {"service.name": service, "process.pid": number, "k8s.pod.name": f"pod-{number}", "region": "earth"}
        fill(group.resource.attributes, own)
        scope = group.scope_spans.add()
        scope.scope.name = f"scope-{number}" if number else ""
        scope.scope.version = "1.2" if number == 1 else ""
        for _ in range(80):
            fill_span(scope.spans.add(), chosen)
    return request


def fill(target: Any, given: dict[str, Any]) -> None:
    target.extend(attributes(**{name.replace(".", "__"): value for name, value in given.items()}))


def fill_span(span: Any, chosen: random.Random) -> None:
    start = 1_600_000_000 * SECOND
    took = chosen.choice([0, 1, 100_000, 2_000_000, 5_000_000, 50_000_000, 10**9, 16 * 10**9, chosen.randrange(10**10)])
    span.trace_id, span.span_id = chosen.randbytes(16), chosen.randbytes(8)
    span.name = chosen.choice(["GET /", "POST /orders", "work"])
    span.kind, span.status.code = chosen.choice(KINDS), chosen.randrange(3)
    span.start_time_unix_nano, span.end_time_unix_nano = start, start + took - (took == 1) * 2
    span.trace_state = chosen.choice(TRACE_STATES)
    own = {
        "http.method": chosen.choice(["GET", "POST"]),
        "http.status_code": chosen.choice([200, 404]),
        "region": "mars",
        "url.path": f"/{chosen.randrange(3)}",
        "url.query": "a=b",
        "k8s.cluster.name": "one",
        "k8s.cluster.label.name": "two",
        "db.query.text": "SELECT 1",
        "net.peer.name": True,
        "net.zone": 1.5,
    }
    fill(span.attributes, {name: value for name, value in own.items() if chosen.random() < 0.7})
    for _ in range(chosen.randrange(3)):
        inside = {"exception.type": "Oops", "http.method": "of the event", "region": "moon", "k8s.pod.name": "event"}
        event = span.events.add(name="exception")
        fill(event.attributes, {name: value for name, value in inside.items() if chosen.random() < 0.5})


def configuration(endpoint: str) -> str:
    connectors = {
        f"span_metrics/{name}": {**options, "namespace": name, "metrics_flush_interval": FLUSH}
        for name, options in VARIANTS.items()
    }
    protocols = {
        "grpc": {"endpoint": "${env:SIDE_GRPC}"},
        "http": {"endpoint": "${env:SIDE_HTTP}"},
    }
    return yaml.safe_dump(
        {
            "receivers": {"otlp": {"protocols": protocols}},
            "connectors": connectors,
            "exporters": {"otlphttp": {"endpoint": endpoint, "compression": "none"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": list(connectors)},
                    "metrics": {"receivers": list(connectors), "exporters": ["otlphttp"]},
                },
            },
        }
    )


Series = tuple[Any, ...]


class Seen:
    """What came of each series: the last data point of cumulative ones, the sum of deltas, and all exemplars."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.found: dict[Series, Any] = {}
        self._last_ns: dict[Series, int] = {}
        self.exemplars: Counter[Any] = Counter()

    def metric(self, resource: dict[str, Any], scope: str, metric: Any) -> None:
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        delta = data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        # Documented: with resource_metrics_key_attributes, Ares's metrics have these only.
        told = () if self._name == "keyed" else items(resource)
        head = (told, scope, metric.name, metric.unit, kind, delta, getattr(data, "is_monotonic", None))
        for point in data.data_points:
            labels = values(point.attributes)
            labels.pop(INSTANCE, None)
            for one in point.exemplars:
                self.exemplars[metric.name, one.trace_id, one.span_id, one.as_double] += 1
            series, numbers = (*head, items(labels)), numbers_of(kind, point)
            assert point.start_time_unix_nano <= point.time_unix_nano
            if point.time_unix_nano < self._last_ns.get(series, 0) and not delta:
                continue  # the Collector's exporter sends several requests at once
            self._last_ns[series] = point.time_unix_nano
            if delta and series in self.found:
                numbers = {
                    what: [a + b for a, b in zip(before, numbers[what], strict=True)] if what != "bounds" else before
                    for what, before in self.found[series].items()
                }
            self.found[series] = numbers

    @property
    def calls(self) -> int:
        return sum(one["value"][0] for series, one in self.found.items() if series[2] == f"{self._name}.calls")


def items(labels: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted((name, type(value).__name__, value) for name, value in labels.items()))


def numbers_of(kind: str, point: Any) -> dict[str, Any]:
    """The numbers of a data point, but those that only Ares tells: the least and the greatest of explicit buckets."""
    if kind == "sum":
        assert point.WhichOneof("value") == "as_int"
        return {"value": [point.as_int]}
    counted = {"count": [point.count], "sum": [pytest.approx(point.sum, rel=1e-9)]}
    if kind == "histogram":
        return counted | {"bounds": list(point.explicit_bounds), "buckets": list(point.bucket_counts)}
    # Where the buckets begin is a matter of zeros at their ends.
    dense = {point.positive.offset + at: n for at, n in enumerate(point.positive.bucket_counts) if n}
    assert not any(point.negative.bucket_counts)
    return counted | {
        "scale": point.scale,
        "zero": point.zero_count,
        "buckets": dense,
        "least and most": (pytest.approx(point.min), pytest.approx(point.max)),
    }


async def of_ares(name: str, request: ExportTraceServiceRequest) -> Seen:
    place, seen = Place(namespace=name, **VARIANTS[name]), Seen(name)
    await place.connector.observe(make_batch(request))
    place.clock.now_ns += SECOND
    await place.flush()
    for batch in place.pipe.batches:
        for group in batch.message().resource_metrics:
            for scope in group.scope_metrics:
                for metric in scope.metrics:
                    seen.metric(values(group.resource.attributes), scope.scope.name, metric)
    return seen


def of_the_collector(name: str, sink: Sink, services: Iterable[str]) -> Seen:
    seen = Seen(name)
    for service in services:
        for one in sink.metrics(service):
            if one.item.name.startswith(f"{name}."):
                seen.metric(one.resource, one.scope, one.item)
    return seen


async def test_the_collectors_connector_and_ares_make_the_same_metrics_of_the_same_spans(
    binary: Path, sink: Sink, request_of_spans: ExportTraceServiceRequest, tmp_path: Path
) -> None:
    services = {values(one.resource.attributes)["service.name"] for one in request_of_spans.resource_spans}
    mine = {name: await of_ares(name, request_of_spans) for name in VARIANTS}
    assert mine["exemplars"].exemplars
    assert (
        mine["plain"].calls
        == mine["sampled"].calls
        > sum(len(one.scope_spans[0].spans) for one in request_of_spans.resource_spans)
    )
    file = tmp_path / "side.yaml"
    file.write_text(configuration(sink.http))
    with collector.running_collector(binary, file, {}) as other:
        async with httpx.AsyncClient(base_url=other.http, trust_env=False, timeout=30) as client:
            headers = {"content-type": "application/x-protobuf"}
            answer = await client.post("/v1/traces", content=request_of_spans.SerializeToString(), headers=headers)
            assert answer.status_code == 200, answer.text

        async def all_counted() -> bool:  # the Collector's first data point of a cumulative sum is 0
            theirs = {name: of_the_collector(name, sink, services).calls for name in VARIANTS}
            assert theirs == {name: seen.calls for name, seen in mine.items()}
            return True

        await eventually(all_counted)
    for name, seen in mine.items():
        theirs = of_the_collector(name, sink, services)
        assert theirs.found.keys() == seen.found.keys(), name
        for series, numbers in seen.found.items():
            assert theirs.found[series] == numbers, (name, series)
        assert theirs.exemplars == seen.exemplars, name
