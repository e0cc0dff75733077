"""The event bus: topics that work alone on a laptop and over Redis in a cluster. The contract is in `model/bus.py`."""

from ares_otel.eventbus.factory import create_event_bus
from ares_otel.eventbus.memory import MemoryBus
from ares_otel.eventbus.switching import SwitchingBus

__all__ = ["MemoryBus", "SwitchingBus", "create_event_bus"]
