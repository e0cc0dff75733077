"""The `debug` exporter: writes to standard error what passes by.

Not to the logger: Ares stores its own log lines, and would so store all telemetry a second time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal

from pydantic import Field

from ares_otel.exporters.text import printable
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ComponentConfig, ExporterFactory

_MAX_LINES = 1000
_MAX_TEXT = 300
_GROUPS = {
    TRACES: ("resource_spans", "scope_spans", "spans"),
    LOGS: ("resource_logs", "scope_logs", "log_records"),
    METRICS: ("resource_metrics", "scope_metrics", "metrics"),
}


class DebugConfig(ComponentConfig):
    """Options of the `debug` exporter."""

    verbosity: Literal["basic", "normal", "detailed"] = Field(
        default="basic",
        description="basic: one line a batch, with counts; normal: one line an item; detailed: every field.",
    )
    sampling_initial: int = Field(default=2, ge=0, description="Batches that are written in each second, first.")
    sampling_thereafter: int = Field(
        default=1, ge=0, description="After these every n-th of that second; 1 writes all, 0 none."
    )


class DebugExporter:
    """Writes batches. Text of senders is escaped: it can neither forge a line nor steer a terminal."""

    def __init__(self, context: BuildContext, config: DebugConfig) -> None:
        self._context = context
        self._config = config
        self._second = -1
        self._seen = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def consume(self, batch: Batch) -> Accepted:
        """Writes the batch, or passes it over (sampling). Raises Rejected when it cannot be decoded."""
        items = batch.items
        if self._is_chosen():
            lines = list(islice(_RENDER[self._config.verbosity](batch), _MAX_LINES + 1))
            if len(lines) > _MAX_LINES:
                lines[_MAX_LINES] = "…"
            sys.stderr.write("".join(f"{self._context.id}: {line}\n" for line in lines))
        return Accepted(items)

    def _is_chosen(self) -> bool:
        second = int(self._context.clock.monotonic())
        if second != self._second:
            self._second, self._seen = second, 0
        self._seen += 1
        beyond = self._seen - self._config.sampling_initial
        every = self._config.sampling_thereafter
        return beyond <= 0 or (every > 0 and beyond % every == 0)


def _basic(batch: Batch) -> Iterator[str]:
    resources = len(getattr(batch.message(), _GROUPS[batch.signal][0]))
    yield f"{batch.signal.name}: resources: {resources}, {batch.signal.items.replace('_', ' ')}: {batch.items}"


def _normal(batch: Batch) -> Iterator[str]:
    yield from _basic(batch)
    for level, element in _walk(batch.signal, batch.message()):
        if level == 0:
            yield f"resource {_attributes(element.resource.attributes)}"
        elif level == 1:
            yield f"  scope {_text(element.scope.name)} {_text(element.scope.version)}".rstrip()
        else:
            yield f"    {_ITEM[batch.signal](element)}"


def _detailed(batch: Batch) -> Iterator[str]:
    yield from _basic(batch)
    for level, element in _walk(batch.signal, batch.message()):
        if level == 0:
            yield "resource"
            yield from _fields(element.resource, 1)
        elif level == 1:
            yield "  scope"
            yield from _fields(element.scope, 2)
        else:
            yield f"    {element.DESCRIPTOR.name}"
            yield from _fields(element, 3)


_RENDER: dict[str, Callable[[Batch], Iterator[str]]] = {"basic": _basic, "normal": _normal, "detailed": _detailed}


def _walk(signal: Signal, message: Any) -> Iterator[tuple[int, Any]]:
    resources, scopes, items = _GROUPS[signal]
    for group in getattr(message, resources):
        yield 0, group
        for scope in getattr(group, scopes):
            yield 1, scope
            for item in getattr(scope, items):
                yield 2, item


def _span(span: Any) -> str:
    milliseconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    ids = f"{_hex(span.trace_id)} {_hex(span.span_id)}"
    return f"{_text(span.name)} {ids} {milliseconds:g}ms {_attributes(span.attributes)}".rstrip()


def _record(record: Any) -> str:
    return f"{_text(record.severity_text)} {_value(record.body)} {_attributes(record.attributes)}".strip()


def _metric(metric: Any) -> str:
    kind = metric.WhichOneof("data") or "empty"
    points = len(getattr(metric, kind).data_points) if kind != "empty" else 0
    return f"{_text(metric.name)} {kind} {_text(metric.unit)} data points: {points}"


_ITEM: dict[Signal, Callable[[Any], str]] = {TRACES: _span, LOGS: _record, METRICS: _metric}


def _attributes(attributes: Any) -> str:
    shown = [f"{_text(attribute.key)}={_value(attribute.value)}" for attribute in islice(attributes, 50)]
    return " ".join(shown + (["…"] if len(attributes) > 50 else []))


def _value(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    content = getattr(value, kind)
    if kind == "bytes_value":
        return _hex(content)
    if kind == "array_value":
        return f"[{len(content.values)} values]"
    return f"{{{len(content.values)} keys}}" if kind == "kvlist_value" else _text(str(content))


def _text(text: str) -> str:
    return printable(text, _MAX_TEXT)


def _fields(message: Any, depth: int) -> Iterator[str]:
    """Every field that is set, a line each; lists of attributes as `key: value`."""
    indent = "  " * depth
    for field, content in message.ListFields():
        if field.message_type is None:
            yield f"{indent}{field.name}: {_scalar(content, repeated=field.is_repeated)}"
        elif field.is_repeated and field.message_type.name == "KeyValue":
            yield f"{indent}{field.name}"
            for attribute in content:
                yield f"{indent}  {_text(attribute.key)}: {_value(attribute.value)}"
        elif field.message_type.name == "AnyValue" and not field.is_repeated:
            yield f"{indent}{field.name}: {_value(content)}"
        else:
            for element in content if field.is_repeated else (content,):
                yield f"{indent}{field.name}"
                yield from _fields(element, depth + 1)


def _scalar(content: Any, *, repeated: bool) -> str:
    if repeated:
        return " ".join(map(str, content[:100])) + (" …" if len(content) > 100 else "")
    return _hex(content) if isinstance(content, bytes) else _text(str(content))


def _hex(content: bytes) -> str:
    return content[: _MAX_TEXT // 2].hex() + ("…" if len(content) > _MAX_TEXT // 2 else "")


FACTORY = ExporterFactory("debug", DebugConfig, DebugExporter, frozenset(SIGNALS.values()))
