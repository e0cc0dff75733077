"""By how much spans are moved so that clocks of several machines agree: the rules of Jaeger's doors, which a person
sees in a viewer as well."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.adjust import adjust
from ares_otel.query.rows import Json, SpanRow
from ares_otel.query.traces import Trace, start_unix_nano
from ares_otel.storage.rows.spans import KINDS

_LATEST = 2**64 - 1
_HOST = ("host.id", "host.ip", "host.name")


def clock_shifts(trace: Trace) -> list[int]:
    """For each span of `trace.spans` the nanoseconds by which it is shown later (or earlier, below 0)."""
    data = TracesData()
    starts: list[int] = []
    resources: dict[tuple[UUID | None, str], Resource] = {}
    for placed in trace.spans:
        row = placed.row
        key = (row.resource_id, row.service_name)
        if key not in resources:
            resources[key] = _resource(row, trace.resources)
        start = min(max(0, start_unix_nano(row)), _LATEST)
        span = (
            data.resource_spans.add(resource=resources[key])
            .scope_spans.add()
            .spans.add(
                trace_id=row.trace_id.bytes,
                span_id=row.span_id,
                parent_span_id=row.parent_span_id or b"",
                start_time_unix_nano=start,
                end_time_unix_nano=min(start + row.duration_ns, _LATEST),
            )
        )
        if row.kind in KINDS:
            span.kind = KINDS.index(row.kind)  # type: ignore[assignment] # an open enum
        starts.append(start)
    moved = [group.scope_spans[0].spans[0].start_time_unix_nano for group in adjust(data).resource_spans]
    return [after - before for before, after in zip(starts, moved, strict=True)]


def _resource(row: SpanRow, known: Mapping[UUID, Json]) -> Resource:
    """What tells one clock from another: the host where there is one, else which resource it is."""
    resource = Resource(attributes=[_text("service.name", row.service_name), _text("id", str(row.resource_id))])
    values = orjson.loads(known.get(row.resource_id, Json("{}"))) if row.resource_id is not None else {}
    for key in _HOST:
        value = values.get(key)
        texts = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
        if texts:
            array = ArrayValue(values=[AnyValue(string_value=one) for one in texts])
            resource.attributes.append(KeyValue(key=key, value=AnyValue(array_value=array)))
    return resource


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
