"""The `filter` processor: takes out what a condition is true for."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ares_otel.model.batch import Consumer
from ares_otel.model.errors import Rejected
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ComponentConfig, ProcessorFactory
from ares_otel.pipeline.occasional import Occasional
from ares_otel.processors.conditions.compile import Condition, compile_condition
from ares_otel.processors.conditions.evaluate import EvaluationError
from ares_otel.processors.conditions.paths import DATA_POINT, LOG_RECORD, METRIC, SPAN, SPAN_EVENT, Context, Env
from ares_otel.processors.message_processor import MessageProcessor, data_points, prune, prune_items

_CONDITIONS = 1000


def _check(texts: list[str], context: Context, option: str) -> None:
    for number, text in enumerate(texts):
        try:
            compile_condition(text, context)
        except ValueError as error:
            raise ValueError(f"{option}[{number}]: {error}") from None


class TraceConditions(ComponentConfig):
    """Conditions on traces."""

    span: list[str] = Field(default=[], max_length=_CONDITIONS, description="A span for which one is true is dropped.")
    spanevent: list[str] = Field(
        default=[], max_length=_CONDITIONS, description="A span event for which one is true is taken out of its span."
    )

    @model_validator(mode="after")
    def _conditions_are_valid(self) -> Self:
        _check(self.span, SPAN, "span")
        _check(self.spanevent, SPAN_EVENT, "spanevent")
        return self


class LogConditions(ComponentConfig):
    """Conditions on logs."""

    log_record: list[str] = Field(
        default=[], max_length=_CONDITIONS, description="A log record for which one is true is dropped."
    )

    @model_validator(mode="after")
    def _conditions_are_valid(self) -> Self:
        _check(self.log_record, LOG_RECORD, "log_record")
        return self


class MetricConditions(ComponentConfig):
    """Conditions on metrics."""

    metric: list[str] = Field(
        default=[], max_length=_CONDITIONS, description="A metric for which one is true is dropped with all its points."
    )
    datapoint: list[str] = Field(
        default=[],
        max_length=_CONDITIONS,
        description="A data point for which one is true is dropped; a metric that has none left goes too.",
    )

    @model_validator(mode="after")
    def _conditions_are_valid(self) -> Self:
        _check(self.metric, METRIC, "metric")
        _check(self.datapoint, DATA_POINT, "datapoint")
        return self


class FilterConfig(ComponentConfig):
    """Options of the `filter` processor. Conditions of one list are joined by "or"."""

    error_mode: Literal["propagate", "ignore", "silent"] = Field(
        default="propagate",
        description="What happens when a condition cannot be applied to an item, for example by a key into a text:"
        " propagate refuses the whole request as invalid, ignore logs it and goes on with the next condition,"
        " silent goes on without a word.",
    )
    traces: TraceConditions = Field(default=TraceConditions(), description="Conditions in traces pipelines.")
    logs: LogConditions = Field(default=LogConditions(), description="Conditions in logs pipelines.")
    metrics: MetricConditions = Field(default=MetricConditions(), description="Conditions in metrics pipelines.")

    @model_validator(mode="after")
    def _some_condition(self) -> Self:
        traces, logs, metrics = self.traces, self.logs, self.metrics
        if not (traces.span or traces.spanevent or logs.log_record or metrics.metric or metrics.datapoint):
            raise ValueError("The filter has no condition; add one, for example under traces.span.")
        return self


class FilterProcessor(MessageProcessor):
    """Takes out items, span events and data points."""

    def __init__(self, context: BuildContext, config: FilterConfig, signal: Signal, next: Consumer) -> None:
        super().__init__(context, signal, next)
        self._error_mode = config.error_mode
        self._warnings = Occasional(context)
        compiled: dict[Signal, tuple[list[Condition], list[Condition]]] = {
            TRACES: (_compiled(config.traces.span, SPAN), _compiled(config.traces.spanevent, SPAN_EVENT)),
            LOGS: (_compiled(config.logs.log_record, LOG_RECORD), []),
            METRICS: (_compiled(config.metrics.metric, METRIC), _compiled(config.metrics.datapoint, DATA_POINT)),
        }
        self._items, self._parts = compiled[signal]

    def process(self, message: Any) -> bool:
        changed = False

        def keep(item: Any, scope: Any, group: Any) -> bool:
            nonlocal changed
            if self._any(self._items, Env(item, scope, group)):
                return False
            if not self._parts:
                return True
            parts = data_points(item) if self._signal is METRICS else item.events
            removed = prune(parts, lambda part: not self._any(self._parts, Env(part, scope, group, item)))
            changed = changed or removed > 0
            return not removed or len(parts) > 0 or self._signal is not METRICS

        return prune_items(self._signal, message, keep) or changed

    def _any(self, conditions: list[Condition], env: Env) -> bool:
        for condition in conditions:
            try:
                if condition(env):
                    return True
            except EvaluationError as error:
                if self._error_mode == "propagate":
                    raise Rejected(
                        f"A condition of {self._context.id} cannot be applied to the data: {error}."
                        " (error_mode: ignore would pass over it.)"
                    ) from None
                if self._error_mode == "ignore":
                    self._warnings.warn("a condition cannot be applied: %s.", error)
        return False


def _compiled(texts: list[str], context: Context) -> list[Condition]:
    return [compile_condition(text, context) for text in texts]


FACTORY = ProcessorFactory("filter", FilterConfig, FilterProcessor, frozenset(SIGNALS.values()))
