"""The `resource` processor: actions on the attributes of resources."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.pipeline.component import BuildContext, ComponentConfig, ProcessorFactory
from ares_otel.processors.attribute_actions import Action, compile_actions
from ares_otel.processors.message_processor import MessageProcessor, resource_groups


class ResourceConfig(ComponentConfig):
    """Options of the `resource` processor."""

    attributes: list[Action] = Field(min_length=1, max_length=1000, description="Actions, applied in order.")


class ResourceProcessor(MessageProcessor):
    """Applies the actions to every resource of a request."""

    def __init__(self, context: BuildContext, config: ResourceConfig, signal: Signal, next: Consumer) -> None:
        super().__init__(context, signal, next)
        self._apply = compile_actions(config.attributes)

    def process(self, message: Any) -> bool:
        changed = False
        for group in resource_groups(self._signal, message):
            changed = self._apply(group.resource.attributes) or changed
        return changed


FACTORY = ProcessorFactory("resource", ResourceConfig, ResourceProcessor, frozenset(SIGNALS.values()))
