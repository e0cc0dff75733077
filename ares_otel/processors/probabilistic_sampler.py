"""The `probabilistic_sampler` processor: keeps a share of spans and log records, the same share everywhere.

The decision follows from the trace id alone, so that every process and both signals decide alike, and what is kept at
10 % is kept at 50 %, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from pydantic import Field, model_validator

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import LOGS, TRACES, Signal
from ares_otel.model.thresholds import (
    ALWAYS,
    MIN_PROBABILITY,
    NEVER,
    SamplingError,
    TraceState,
    decode_randomness,
    decode_threshold,
    encode_randomness,
    encode_threshold,
    probability_of,
    threshold_of,
    trace_randomness,
)
from ares_otel.pipeline.component import BuildContext, ComponentConfig, ProcessorFactory
from ares_otel.pipeline.occasional import Occasional
from ares_otel.processors.message_processor import MessageProcessor, prune_items
from ares_otel.processors.values import find, put, remove, scalar, text_of

_BUCKETS = 1 << 14
_THRESHOLD_KEY = "sampling.threshold"
_RANDOMNESS_KEY = "sampling.randomness"


class SamplerConfig(ComponentConfig):
    """Options of the `probabilistic_sampler` processor."""

    sampling_percentage: float = Field(
        ge=0, allow_inf_nan=False, description="Share of the items that is kept; 100 and more keeps all, 0 none."
    )
    mode: Literal["hash_seed", "proportional", "equalizing"] = Field(
        default="hash_seed",
        description="Where the decision comes from: hash_seed hashes the trace id; proportional and equalizing read"
        " its last 56 bits (W3C Trace Context Level 2) and respect what was sampled before.",
    )
    hash_seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of the hash; equal on all that must decide alike."
    )
    fail_closed: bool = Field(
        default=True,
        description="Whether an item that cannot be judged (no trace id, unreadable sampling information) is dropped.",
    )
    sampling_precision: int = Field(
        default=4, ge=1, le=14, description="Hexadecimal digits of the thresholds of proportional and equalizing."
    )
    attribute_source: Literal["traceID", "record"] = Field(
        default="traceID", description="Logs: whether the trace id or `from_attribute` decides."
    )
    from_attribute: str = Field(
        default="", description="Logs: attribute that decides with `attribute_source: record`, or without a trace id."
    )
    sampling_priority: str = Field(
        default="", description="Logs: attribute that holds a percentage of its own for the record."
    )

    @model_validator(mode="after")
    def _a_source_is_named(self) -> Self:
        if self.attribute_source == "record" and not self.from_attribute:
            raise ValueError("attribute_source: record needs from_attribute, the name of the attribute.")
        return self


@dataclass(slots=True)
class _Evidence:
    """What an item says about its sampling."""

    randomness: int
    incoming: int | None
    """The threshold that it passed before, if it says so."""
    explicit: bool
    """Whether the randomness came as such with the item."""


class ProbabilisticSampler(MessageProcessor):
    """Decides on every span or log record by itself."""

    def __init__(self, context: BuildContext, config: SamplerConfig, signal: Signal, next: Consumer) -> None:
        super().__init__(context, signal, next)
        self._config = config
        self._warnings = Occasional(context)
        percentage = _float32(min(config.sampling_percentage, 100.0))
        self._ratio = percentage / 100
        if config.mode == "hash_seed":
            # 14 bits, in 32-bit arithmetic rounded down: the same buckets as the Collector's.
            self._threshold = (_BUCKETS - int(_float32(percentage * _float32(_BUCKETS / 100)))) << 42
        else:
            ratio = max(self._ratio, MIN_PROBABILITY) if percentage else 0.0
            self._threshold = threshold_of(ratio, config.sampling_precision)

    def process(self, message: Any) -> bool:
        changed = False
        keep_one: Callable[[Any], tuple[bool, bool]] = self._keep_span if self._signal is TRACES else self._keep_record

        def keep(item: Any, scope_group: Any, group: Any) -> bool:
            nonlocal changed
            kept, wrote = keep_one(item)
            changed = changed or wrote
            return kept

        return prune_items(self._signal, message, keep) or changed

    # --- spans

    def _keep_span(self, span: Any) -> tuple[bool, bool]:
        """(is kept, was written to)."""
        priority = _span_priority(scalar(find(span.attributes, "sampling.priority")))
        if priority is False:
            return False, False
        state: TraceState | None = None
        try:
            state = TraceState(span.trace_state)
            evidence = self._span_evidence(span.trace_id, state)
        except SamplingError as error:
            if priority is None and not self._pass_unjudged(error):
                return False, False
            if state is not None and state.threshold is not None:
                state.threshold = None  # a threshold that contradicts the randomness is a lie
                return True, _write_state(span, state)
            return True, False
        threshold = ALWAYS if priority else self._decide(evidence.incoming)
        if evidence.randomness < threshold:
            return False, False
        state.threshold = max(threshold, evidence.incoming or ALWAYS)
        if self._config.mode == "hash_seed" and evidence.explicit:
            state.threshold = None  # two independent samplings cannot be told by one threshold
        elif self._config.mode == "hash_seed":
            state.randomness = evidence.randomness
        return True, _write_state(span, state)

    def _span_evidence(self, trace_id: bytes, state: TraceState) -> _Evidence:
        if not any(trace_id):
            raise SamplingError("it has no trace id")
        if self._config.mode == "hash_seed":
            explicit = state.randomness is not None or state.threshold is not None
            return _Evidence(self._hashed(trace_id), None, explicit)
        randomness = trace_randomness(trace_id) if state.randomness is None else state.randomness
        return _checked(_Evidence(randomness, state.threshold, state.randomness is not None))

    # --- log records

    def _keep_record(self, record: Any) -> tuple[bool, bool]:
        """(is kept, was written to)."""
        own = self._record_percentage(record)
        if own == 0:
            return False, False
        try:
            evidence = self._record_evidence(record)
        except SamplingError as error:
            if not (own is not None and own >= 100) and not self._pass_unjudged(error):
                return False, False
            return True, remove(record.attributes, _THRESHOLD_KEY)
        threshold = self._decide(evidence.incoming)
        if own is not None:
            threshold = threshold_of(min(own / 100, 1.0), self._config.sampling_precision)
        if evidence.randomness < threshold:
            return False, False
        if self._config.mode == "hash_seed" and evidence.explicit:
            return True, remove(record.attributes, _THRESHOLD_KEY)
        final = max(threshold, evidence.incoming or ALWAYS)
        wrote = put(record.attributes, _THRESHOLD_KEY, AnyValue(string_value=encode_threshold(final)))
        if self._config.mode == "hash_seed" or not any(record.trace_id):
            value = AnyValue(string_value=encode_randomness(evidence.randomness))
            wrote = put(record.attributes, _RANDOMNESS_KEY, value) or wrote
        return True, wrote

    def _record_evidence(self, record: Any) -> _Evidence:
        config = self._config
        threshold_text = scalar(find(record.attributes, _THRESHOLD_KEY))
        randomness_text = scalar(find(record.attributes, _RANDOMNESS_KEY))
        explicit = isinstance(randomness_text, str)
        by_trace = config.attribute_source == "traceID" and any(record.trace_id)
        source = record.trace_id if by_trace else self._attribute_bytes(record)
        if config.mode == "hash_seed":
            if not source:
                raise SamplingError("it has neither a trace id nor the attribute that decides")
            return _Evidence(self._hashed(source), None, explicit or isinstance(threshold_text, str))
        incoming = decode_threshold(threshold_text) if isinstance(threshold_text, str) else None
        if isinstance(randomness_text, str):
            randomness = decode_randomness(randomness_text)
        elif by_trace:
            randomness = trace_randomness(record.trace_id)
        elif source:
            randomness = self._hashed(source)
        else:
            raise SamplingError("it has neither a trace id nor the attribute that decides")
        return _checked(_Evidence(randomness, incoming, explicit))

    def _attribute_bytes(self, record: Any) -> bytes:
        if not self._config.from_attribute:
            return b""
        value = scalar(find(record.attributes, self._config.from_attribute))
        return value if isinstance(value, bytes) else text_of(value).encode()

    def _record_percentage(self, record: Any) -> float | None:
        if not self._config.sampling_priority:
            return None
        value = scalar(find(record.attributes, self._config.sampling_priority))
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        return float(value) if usable else None

    # --- both

    def _decide(self, incoming: int | None) -> int:
        """The threshold for an item. Proportional keeps the configured share of what arrives, whatever share of the
        whole that already is; the others know one threshold for all."""
        if self._config.mode != "proportional":
            return self._threshold
        if not self._ratio:
            return NEVER
        before = 1.0 if incoming is None else probability_of(incoming)
        return threshold_of(before * self._ratio, self._config.sampling_precision)

    def _hashed(self, source: bytes) -> int:
        return hash_randomness(source, self._config.hash_seed)

    def _pass_unjudged(self, error: SamplingError) -> bool:
        what = "span" if self._signal is TRACES else "log record"
        fate = "dropped" if self._config.fail_closed else "kept"
        self._warnings.warn("a %s cannot be sampled, because %s; it is %s (fail_closed).", what, error, fate)
        return not self._config.fail_closed


def hash_randomness(source: bytes, seed: int) -> int:
    """56 bits of which the first 14 decide: FNV-1a over seed and source, as the Collector's hash_seed mode has it.

    The Collector keeps an item whose low 14 bits are below the accepted share; here the same is said as R >= T, hence
    the complement. The other bits only fill the number up.
    """
    value = 0x811C9DC5
    for byte in struct.pack("<I", seed) + source:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    bucket = value & (_BUCKETS - 1)
    rest = value >> 18
    return (_BUCKETS - 1 - bucket) << 42 | (rest ^ rest << 10) << 14 | bucket


def _checked(evidence: _Evidence) -> _Evidence:
    if evidence.incoming is not None and evidence.randomness < evidence.incoming:
        raise SamplingError("its sampling threshold contradicts its randomness")
    return evidence


def _span_priority(value: Any) -> bool | None:
    """True: keep; False: drop; None: no wish (OpenTracing's `sampling.priority`, as number or as text)."""
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        return None
    return value > 0


def _write_state(span: Any, state: TraceState) -> bool:
    text = str(state)
    if text == span.trace_state:
        return False
    span.trace_state = text
    return True


def _float32(value: float) -> float:
    result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return result


FACTORY = ProcessorFactory("probabilistic_sampler", SamplerConfig, ProbabilisticSampler, frozenset({TRACES, LOGS}))
