"""A trace of OTLP as Jaeger's JSON of version 1, whole or piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.v1_span import process_to_v1, scope_tags, span_to_v1


class Processes:
    """The processes of one trace: each resource is told once, as p1, p2, … in the order of appearance."""

    def __init__(self) -> None:
        self._ids: dict[bytes, str] = {}
        self.shown: dict[str, dict[str, Any]] = {}

    def id_of(self, resource: Any) -> str:
        """The id of the process that a resource stands for."""
        key = resource.SerializeToString(deterministic=True)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = f"p{len(self._ids) + 1}"
            self.shown[found] = process_to_v1(resource)
        return found


def spans_to_v1(data: TracesData, processes: Processes) -> Iterator[dict[str, Any]]:
    """The spans of a chunk; the processes learn of theirs."""
    for container in data.resource_spans:
        process: str | None = None
        for scope in container.scope_spans:
            told = scope_tags(scope.scope)
            for span in scope.spans:
                process = process or processes.id_of(container.resource)
                yield span_to_v1(span, process, told)


def trace_to_v1(data: Iterable[TracesData], warnings: Iterable[str] = ()) -> dict[str, Any]:
    """One trace as Jaeger shows it: `traceID`, `spans`, `processes`, `warnings`.

    Args:
        data: its chunks, in order.
        warnings: of the trace as a whole.
    """
    processes = Processes()
    spans = [span for chunk in data for span in spans_to_v1(chunk, processes)]
    return {
        "traceID": spans[0]["traceID"] if spans else "",
        "spans": spans,
        "processes": processes.shown,
        "warnings": list(warnings) or None,
    }
