"""What tests of single components need around them: a context, a consumer that keeps what it gets, small requests."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext, ProcessorFactory, Stage
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.processors.values import to_any_value


class Keeper:
    """A consumer that keeps every batch and says it is stored."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def consume(self, batch: Batch) -> Accepted:
        self.batches.append(batch)
        return Accepted(batch.items)


def make_context(id: str = "part/test") -> BuildContext:
    """A context of its own: nothing is shared with other tests."""
    return BuildContext(id=id, telemetry=Telemetry(), admission=Admission(), log=logging.getLogger("ares_otel.test"))


def make_batch(message: Any) -> Batch:
    """A batch as a receiver would make it."""
    signal = next(signal for signal in SIGNALS.values() if isinstance(message, signal.request))
    return Batch(
        signal, message.SerializeToString(), received_ns=1_700_000_000_000_000_000, receiver="otlp", transport="grpc"
    )


def attributes(**values: Any) -> list[KeyValue]:
    """Attributes from Python values; `__` in a name stands for a dot."""
    return [
        KeyValue(
            key=key.replace("__", "."),
            value=AnyValue(bytes_value=value) if isinstance(value, bytes) else to_any_value(value),
        )
        for key, value in values.items()
    ]


def plain(attribute_list: Any) -> dict[str, Any]:
    """Attributes as a dict of Python values."""
    return {attribute.key: _plain(attribute.value) for attribute in attribute_list}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def traces(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> ExportTraceServiceRequest:
    """One resource, one scope, these spans; `attributes` of a span is a dict."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(attributes(**(resource or {"service__name": "shop"})))
    scope = group.scope_spans.add()
    scope.scope.name = "tests"
    for fields in spans:
        own = dict(fields)
        given = own.pop("attributes", {})
        scope.spans.add(**own).attributes.extend(attributes(**given))
    return request


def logs(*records: dict[str, Any], resource: dict[str, Any] | None = None) -> ExportLogsServiceRequest:
    """One resource, one scope, these log records; `attributes` and `body` are Python values."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.extend(attributes(**(resource or {"service__name": "shop"})))
    scope = group.scope_logs.add()
    scope.scope.name = "tests"
    for fields in records:
        own = dict(fields)
        given, body = own.pop("attributes", {}), own.pop("body", None)
        record = scope.log_records.add(**own)
        record.attributes.extend(attributes(**given))
        if body is not None:
            record.body.CopyFrom(to_any_value(body))
    return request


def metrics(*points: dict[str, Any], name: str = "requests") -> ExportMetricsServiceRequest:
    """One sum with these data points."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.extend(attributes(service__name="shop"))
    metric = group.scope_metrics.add().metrics.add(name=name)
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for fields in points:
        own = dict(fields)
        given = own.pop("attributes", {})
        metric.sum.data_points.add(**own).attributes.extend(attributes(**given))
    return request


def only_spans(batch: Batch) -> list[Any]:
    """All spans of a batch."""
    return [span for group in batch.message().resource_spans for scope in group.scope_spans for span in scope.spans]


def only_records(batch: Batch) -> list[Any]:
    """All log records of a batch."""
    return [
        record for group in batch.message().resource_logs for scope in group.scope_logs for record in scope.log_records
    ]


def only_points(batch: Batch) -> list[Any]:
    """All data points of sums of a batch."""
    return [
        point
        for group in batch.message().resource_metrics
        for scope in group.scope_metrics
        for metric in scope.metrics
        for point in metric.sum.data_points
    ]


def build_processor(
    factory: ProcessorFactory, options: dict[str, Any], signal: Signal, context: BuildContext | None = None
) -> tuple[Stage, Keeper]:
    """A processor with its configuration checked, and what stands behind it."""
    keeper = Keeper()
    config = factory.config.model_validate(options)
    return factory.build(context or make_context(f"{factory.type}/test"), config, signal, keeper), keeper


def sample(context: BuildContext, name: str, **labels: str) -> float:
    """Value of a counter or gauge; 0 when it was never touched."""
    return context.telemetry.registry.get_sample_value(name, labels) or 0.0
