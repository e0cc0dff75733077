"""What a client that asks is told: Jaeger's sampling strategy, as it follows from settings and from what is known.

Source: jaeger.api_v2 SamplingStrategyResponse. The protocol knows names of operations, no patterns and no kinds: rules
are resolved here, for the operations that Ares has seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ares_otel.control.config_values import as_float, as_int
from ares_otel.control.sampling import keys
from ares_otel.control.sampling.glob import Glob

INITIAL_RATIO = 0.01
"""At which new operations of a service with a target begin, where `sampling.ratio` does not say."""
MAX_OPERATIONS = 2000
"""Operations of one strategy: so many the clients keep apart."""
MAX_NAME = 254
"""Characters of an operation that can be told: the roll-ups cut names at 255, and the protocol wants whole ones."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """The answer to one service. Its renderings are kept: thousands of clients ask for the same one."""

    ratio: float
    """Probability for operations that are not listed."""
    max_traces_per_second: int | None = None
    """A limit instead of the ratio, where `operations` is None; beside them the upper bound."""
    operations: tuple[tuple[str, float], ...] | None = None
    """Name and probability; None where all operations are alike."""
    lower_bound: float = 0.0
    """Traces a second that are begun of every operation whatever its probability."""
    rendered: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    """Format → bytes, filled by those who render."""

    @property
    def kind(self) -> str:
        """`PROBABILISTIC` or `RATE_LIMITING`, as the protocol names them."""
        limited = self.max_traces_per_second is not None and self.operations is None
        return "RATE_LIMITING" if limited else "PROBABILISTIC"

    def document(self) -> dict[str, Any]:
        """As JSON with the protocol's names; clients refuse fields that they do not know."""
        if self.kind == "RATE_LIMITING":
            rate = {"maxTracesPerSecond": self.max_traces_per_second}
            return {"strategyType": self.kind, "rateLimitingSampling": rate}
        document: dict[str, Any] = {
            "strategyType": self.kind,
            "probabilisticSampling": {"samplingRate": self.ratio},
        }
        if self.operations is not None:
            listed = document["operationSampling"] = {
                "defaultSamplingProbability": self.ratio,
                "defaultLowerBoundTracesPerSecond": self.lower_bound,
                "perOperationStrategies": [
                    {"operation": name, "probabilisticSampling": {"samplingRate": ratio}}
                    for name, ratio in self.operations
                ],
            }
            if self.max_traces_per_second is not None:
                listed["defaultUpperBoundTracesPerSecond"] = float(self.max_traces_per_second)
        return document

    def json(self) -> bytes:
        """The document's bytes."""
        if (body := self.rendered.get("json")) is None:
            body = self.rendered["json"] = json.dumps(self.document(), separators=(",", ":")).encode()
        return body


@dataclass(frozen=True, slots=True)
class Rule:
    """How many of some operations' traces are begun."""

    operation: Glob
    kind: str | None
    ratio: float

    def fits(self, name: str, kinds: Iterable[str] | None) -> bool:
        """Whether it is about an operation that has these kinds. Where they are not known (None), a rule that names one
        is about the operation that it names too."""
        if not self.operation.matches(name):
            return False
        if self.kind is None:
            return True
        return self.operation.exact is not None if kinds is None else self.kind in kinds


@dataclass(frozen=True, slots=True)
class Wishes:
    """The settings of one service, read."""

    ratio: float | None = None
    rules: tuple[Rule, ...] = ()
    max_traces_per_second: int | None = None
    target: float | None = None
    lower_bound: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Wishes:
        """From values of `keys.KEYS` that have been checked."""
        rules = tuple(
            Rule(Glob(rule["operation"]), rule.get("kind"), float(rule["ratio"])) for rule in values.get(keys.RULES, ())
        )
        return cls(
            as_float(values.get(keys.RATIO)),
            rules,
            as_int(values.get(keys.MAX_RATE)),
            as_float(values.get(keys.TARGET)),
            as_float(values.get(keys.LOWER_BOUND)) or 0.0,
        )

    @property
    def adaptive(self) -> bool:
        """Whether probabilities follow the load."""
        return self.target is not None

    @property
    def needs_operations(self) -> bool:
        """Whether the answer depends on what the service does."""
        return self.adaptive or any(rule.operation.exact is None for rule in self.rules)

    def initial(self, default: float) -> float:
        """The probability of an operation that no rule is about and that nothing is known of."""
        if self.ratio is not None:
            return self.ratio
        return INITIAL_RATIO if self.adaptive else default

    def rule_for(self, name: str, kinds: Iterable[str] | None = None) -> Rule | None:
        """The first rule that is about an operation."""
        return next((rule for rule in self.rules if rule.fits(name, kinds)), None)

    def otherwise(self, default: float) -> float:
        """The probability of an operation that nobody has seen yet: that of a rule for all, where no other is left."""
        for rule in self.rules:
            if rule.operation.any and rule.kind is None:
                return rule.ratio
        return self.initial(default)

    def strategy(
        self,
        default: float,
        known: Mapping[str, Iterable[str]] | None = None,
        computed: Mapping[str, float] | None = None,
    ) -> Strategy:
        """What follows for clients.

        Args:
            default: `sampling.default_ratio`, for a service that has no ratio of its own.
            known: operations of the service and their kinds.
            computed: probabilities that follow the load.
        """
        otherwise = self.otherwise(default)
        bounded_below = self.lower_bound > 0 and self.max_traces_per_second is None
        if not self.rules and not self.adaptive and not bounded_below:
            return Strategy(otherwise, self.max_traces_per_second, None, self.lower_bound)
        listed: dict[str, float] = {}
        for rule in self.rules:
            if (name := rule.operation.exact) is not None:
                kinds = None if known is None else known.get(name)
                first = self.rule_for(name, kinds)
                if first is not None:
                    listed.setdefault(name, first.ratio)
        for name, kinds in (known or {}).items():
            if name in listed or len(name) > MAX_NAME:
                continue
            first = self.rule_for(name, kinds)
            if first is not None and first.ratio != otherwise:  # else it is no exception
                listed[name] = first.ratio
        for name, ratio in (computed or {}).items() if self.adaptive else ():
            if name not in listed and len(name) <= MAX_NAME and self.rule_for(name, (known or {}).get(name)) is None:
                listed[name] = ratio
        told = tuple(listed.items())[:MAX_OPERATIONS]
        return Strategy(otherwise, self.max_traces_per_second, told, self.lower_bound)


NOTHING = Wishes()
"""A service without settings."""
