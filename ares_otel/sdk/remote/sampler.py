"""Which traces begin, by settings that change while the application runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from ares_otel.control.sampling.glob import Glob
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


class _Roots(Sampler):
    """Decides about spans without a parent: the first rule that wants the span, else the ratio, else the base."""

    def __init__(self, rules: Sequence[Rule], otherwise: Sampler) -> None:
        self._rules = rules
        self._otherwise = otherwise
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
        found = next((rule.sampler for rule in self._rules if rule.wants(name, kind)), self._otherwise)
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

    def apply(self, ratio: float | None, rules: list[dict[str, Any]] | None) -> None:
        """From now on these decide; None for those that are not set. Thread-safe."""
        if ratio is None and not rules:
            self._current = self._base
            return
        otherwise = self._base if ratio is None else TraceIdRatioBased(ratio)
        roots = _Roots([Rule.of(rule) for rule in rules], otherwise) if rules else otherwise
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
