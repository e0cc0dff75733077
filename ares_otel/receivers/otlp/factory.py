"""How the pipeline makes an `otlp` receiver."""

from __future__ import annotations

from collections.abc import Mapping

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.pipeline.component import BuildContext, ReceiverFactory
from ares_otel.receivers.otlp.config import OtlpReceiverConfig
from ares_otel.receivers.otlp.receiver import OtlpReceiver


def build(context: BuildContext, config: OtlpReceiverConfig, consumers: Mapping[Signal, Consumer]) -> OtlpReceiver:
    """A receiver, not started."""
    return OtlpReceiver(context, config, consumers)


FACTORY = ReceiverFactory(type="otlp", config=OtlpReceiverConfig, build=build, signals=frozenset(SIGNALS.values()))
