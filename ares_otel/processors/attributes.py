"""The `attributes` processor: actions on the attributes of spans, log records and data points."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import METRICS, SIGNALS, Signal
from ares_otel.pipeline.component import BuildContext, ComponentConfig, ProcessorFactory
from ares_otel.processors.attribute_actions import Action, compile_actions
from ares_otel.processors.match import MatchProperties, compile_match
from ares_otel.processors.message_processor import MessageProcessor, data_points, items


class AttributesConfig(ComponentConfig):
    """Options of the `attributes` processor."""

    actions: list[Action] = Field(min_length=1, max_length=1000, description="Actions, applied in order.")
    include: MatchProperties | None = Field(default=None, description="Only what matches is changed.")
    exclude: MatchProperties | None = Field(default=None, description="What matches is not changed.")


class AttributesProcessor(MessageProcessor):
    """Applies the actions to every span, log record or data point that `include` and `exclude` leave."""

    def __init__(self, context: BuildContext, config: AttributesConfig, signal: Signal, next: Consumer) -> None:
        super().__init__(context, signal, next)
        self._apply = compile_actions(config.actions)
        name = f"processors.{context.id}"
        self._include = config.include and compile_match(config.include, signal, setting=f"{name}.include")
        self._exclude = config.exclude and compile_match(config.exclude, signal, setting=f"{name}.exclude")

    def process(self, message: Any) -> bool:
        changed = False
        for item, scope_group, group in items(self._signal, message):
            if self._include and not self._include(item, scope_group, group):
                continue
            if self._exclude and self._exclude(item, scope_group, group):
                continue
            for owner in data_points(item) if self._signal is METRICS else (item,):
                changed = self._apply(owner.attributes) or changed
        return changed


FACTORY = ProcessorFactory("attributes", AttributesConfig, AttributesProcessor, frozenset(SIGNALS.values()))
