"""Which series a span belongs to: the values of its dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.connectors.series import Key
from ares_otel.connectors.spanmetrics.config import (
    INSTANCE_ID,
    SAMPLING_METHOD,
    SCOPE_NAME,
    SCOPE_VERSION,
    SERVICE_NAME,
    SPAN_KIND,
    SPAN_NAME,
    STATUS_CODE,
    SpanMetricsConfig,
)
from ares_otel.connectors.spanmetrics.dimensions import attributes
from ares_otel.connectors.spans import text_attribute

_KINDS = dict(zip(Span.SpanKind.values(), Span.SpanKind.keys(), strict=True))
_STATUSES = dict(zip(Status.StatusCode.values(), Status.StatusCode.keys(), strict=True))


class Labels:
    """Reads dimensions, and makes attributes of them."""

    def __init__(self, config: SpanMetricsConfig, writer: str) -> None:
        """
        Args:
            writer: the value of `collector.instance.id`.
        """
        excluded: set[str] = set(config.exclude_dimensions)
        self._wanted = [name not in excluded for name in (SERVICE_NAME, SPAN_NAME, SPAN_KIND, STATUS_CODE)]
        self._scopes = frozenset(config.include_instrumentation_scope) - {""}
        self._with_method = config.enable_metrics_sampling_method
        self.always = [] if INSTANCE_ID in excluded or not writer else [text_attribute(INSTANCE_ID, writer)]
        """Attributes of every series."""

    def base(self, service: str, scope: Any, span: Any, *, extrapolated: bool) -> Key:
        """What every series of the span has: service, name, kind, status, and where wanted its scope and whether its
        count is extrapolated."""
        service_wanted, name_wanted, kind_wanted, status_wanted = self._wanted
        named = bool(self._scopes) and scope.name in self._scopes
        return (
            service if service_wanted else None,
            span.name if name_wanted else None,
            _KINDS.get(span.kind, "SPAN_KIND_UNSPECIFIED") if kind_wanted else None,
            _STATUSES.get(span.status.code, "STATUS_CODE_UNSET") if status_wanted else None,
            scope.name if named else None,
            scope.version or None if named else None,
            ("extrapolated" if extrapolated else "counted") if self._with_method else None,
        )

    def attributes(self, base: Key, found: Iterable[tuple[str, AnyValue | None]]) -> list[KeyValue]:
        """The attributes of a series."""
        names = (SERVICE_NAME, SPAN_NAME, SPAN_KIND, STATUS_CODE, SCOPE_NAME, SCOPE_VERSION, SAMPLING_METHOD)
        made = [text_attribute(name, str(value)) for name, value in zip(names, base, strict=True) if value is not None]
        return made + self.always + attributes(found)
