"""Telemetry says by which settings it was made: `ares.config.revision`, an id of `service_config_history`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import Span, SpanProcessor

import ares_otel

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from opentelemetry.util.types import AnyValue

ATTRIBUTE = "ares.config.revision"

Revision = Callable[[], int]
"""The id of the newest change in force; 0 for none, which is not stamped."""


class SpanStamp(SpanProcessor):
    """Puts the revision on spans that start."""

    def __init__(self, revision: Revision) -> None:
        self._revision = revision

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if revision := self._revision():
            span.set_attribute(ATTRIBUTE, revision)


class LogStamp(LogRecordProcessor):
    """Puts the revision on log records."""

    def __init__(self, revision: Revision) -> None:
        self._revision = revision

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if revision := self._revision():
            attributes: MutableMapping[str, AnyValue] = log_record.log_record.attributes  # type: ignore[assignment]
            attributes[ATTRIBUTE] = revision

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def observe(meter_provider: MeterProvider, revision: Revision) -> None:
    """A gauge with the revision: as an attribute of points it would begin new series with every change."""

    def now(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(known)] if (known := revision()) else []

    meter_provider.get_meter("ares_otel.sdk.remote", ares_otel.__version__).create_observable_gauge(
        ATTRIBUTE, [now], description="Id of the newest change of the settings that is in force"
    )
