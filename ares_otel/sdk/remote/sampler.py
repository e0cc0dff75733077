"""Which traces begin, by settings that change while the application runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes, AttributeValue

from ares_otel.control.sampling.glob import Glob
from ares_otel.control.sampling.strategy import INITIAL_RATIO
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.sdk.remote.keys import KINDS

_REMEMBERED = 1000
"""Operations whose rule is remembered; then all are forgotten: names may be invented without end."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How many of an operation's traces are kept."""

    operation: Glob
    kind: SpanKind | None
    sampler: Sampler

    @classmethod
    def of(cls, setting: dict[str, Any]) -> Rule:
        """From the JSON of `sampling.rules`, which has been checked."""
        kind = setting.get("kind")
        ratio = TraceIdRatioBased(float(setting["ratio"]))
        return cls(Glob(setting["operation"]), None if kind is None else KINDS[kind], ratio)

    def wants(self, name: str, kind: SpanKind | None) -> bool:
        return (self.kind is None or self.kind == (kind or SpanKind.INTERNAL)) and self.operation.matches(name)


class _Telling(Sampler):
    """A ratio that is told on the span, as Jaeger's clients do: so Ares knows how many traces there were."""

    def __init__(self, ratio: float) -> None:
        self._ratio = TraceIdRatioBased(ratio)
        self._told: Mapping[str, AttributeValue] = {
            "jaeger.sampler.type": "probabilistic",
            "jaeger.sampler.param": ratio,
        }

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        result = self._ratio.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is not Decision.RECORD_AND_SAMPLE:
            return result
        return SamplingResult(result.decision, {**(attributes or {}), **self._told}, result.trace_state)

    def get_description(self) -> str:
        return f"adaptive:{self._ratio.get_description()}"


class Limited(Sampler):
    """At most so many traces a second, and those that one second leaves over in the next one."""

    def __init__(self, rate: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rate = rate
        self._clock = clock
        self._credit = self._most = float(max(rate, 1)) if rate else 0.0
        self._at = clock.monotonic()
        self._lock = threading.Lock()

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        with self._lock:
            now = self._clock.monotonic()
            self._credit = min(self._credit + (now - self._at) * self._rate, self._most)
            self._at = now
            kept = self._credit >= 1
            self._credit -= kept
        # What the SDK's own samplers make of the decision, for the trace state.
        chosen = ALWAYS_ON if kept else ALWAYS_OFF
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"limited:{self._rate}/s"


class _Roots(Sampler):
    """Decides about spans without a parent: the first rule that wants the span, else what follows the load of its
    operation, else the ratio, else the base."""

    def __init__(self, rules: Sequence[Rule], otherwise: Sampler, adaptive: Mapping[str, float] | None = None) -> None:
        self._rules = rules
        self._otherwise = otherwise
        self._adaptive = adaptive or {}
        self._remembered: dict[tuple[str, SpanKind | None], Sampler] = {}

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        sampler = self._remembered.get((name, kind)) or self._find(name, kind)
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        rules = f"rules:{len(self._rules)}," if self._rules else ""
        return f"{{{rules}otherwise:{self._otherwise.get_description()}}}"

    def _find(self, name: str, kind: SpanKind | None) -> Sampler:
        found = next((rule.sampler for rule in self._rules if rule.wants(name, kind)), None)
        if found is None:
            ratio = self._adaptive.get(name)
            found = self._otherwise if ratio is None else _Telling(ratio)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered = {}
        self._remembered[name, kind] = found
        return found


class RemoteSampler(Sampler):
    """Where nothing is set, exactly the sampler it was given; else rules and a ratio for spans without a parent, while
    children do what their parents do (specification, trace SDK, ParentBased)."""

    def __init__(self, base: Sampler) -> None:
        self._base = base
        self._current = base
        self._limited: tuple[int, Sampler] | None = None

    def apply(
        self,
        ratio: float | None,
        rules: list[dict[str, Any]] | None,
        *,
        limit: int | None = None,
        adaptive: Mapping[str, float] | None = None,
    ) -> None:
        """From now on these decide; None for those that are not set. Thread-safe.

        Args:
            limit: traces a second, where neither rules nor a target are set.
            adaptive: operation → the probability that follows its load, where a target is set.
        """
        if ratio is None and not rules and limit is None and adaptive is None:
            self._current = self._base
            return
        otherwise = self._base if ratio is None else TraceIdRatioBased(ratio)
        roots = otherwise
        if adaptive is not None:
            roots = _Roots(
                [Rule.of(rule) for rule in rules or ()], _Telling(INITIAL_RATIO if ratio is None else ratio), adaptive
            )
        elif rules:
            roots = _Roots([Rule.of(rule) for rule in rules], otherwise)
        elif limit is not None:
            current = self._limited
            if current is None or current[0] != limit:  # else what it has left stays
                current = self._limited = (limit, Limited(limit))
            roots = current[1]
        self._current = ParentBased(roots)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        return self._current.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        current = self._current
        if current is self._base:
            return self._base.get_description()
        return f"RemoteSampler{{{current.get_description()}}}"
