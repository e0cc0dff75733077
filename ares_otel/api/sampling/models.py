"""The shape of the answer about a service's sampling, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ares_otel.api.models import Time

Probability = Annotated[float, Field(ge=0, le=1)]


class SampledOperation(BaseModel):
    """An operation whose probability follows its load."""

    operation_name: str
    probability: Probability
    since: Annotated[Time, Field(description="When the probability was changed last")]
    sampled_per_second: Annotated[float | None, Field(description="Root spans that came, when they were counted last")]
    offered_per_second: Annotated[float | None, Field(description="With those that were not sampled: an estimate")]
    measured_at: Time | None
    last_seen: Time


class SamplingChange(BaseModel):
    """A change that adaptive sampling made."""

    operation_name: str
    old_probability: Annotated[float | None, Field(description="null for an operation that was new")]
    new_probability: Probability
    sampled_per_second: float
    offered_per_second: float
    target_per_second: float
    changed_at: Time


class ServiceSampling(BaseModel):
    """What clients of a service are told, and why."""

    service_name: str
    source: Annotated[
        Literal["default", "settings", "adaptive"],
        Field(description="default: the service has no settings of sampling; adaptive: it has a target"),
    ]
    since: Annotated[Time | None, Field(description="When a setting of sampling was changed last; null without any")]
    settings: Annotated[dict[str, Any], Field(description="Those in force, by key")]
    target_traces_per_second: Annotated[float | None, Field(description="Of each operation")]
    strategy: Annotated[dict[str, Any], Field(description="As the protocol has it: what /sampling answers")]
    operations: Annotated[list[SampledOperation], Field(description="Those that were heard of last come first")]
    changes: Annotated[list[SamplingChange], Field(description="The latest hundred, newest first")]


EXAMPLE: dict[str, Any] = {
    "service_name": "orders",
    "source": "adaptive",
    "since": "2026-01-01T00:00:00.000000Z",
    "settings": {"sampling.target_traces_per_second": 2},
    "target_traces_per_second": 2.0,
    "strategy": {
        "strategyType": "PROBABILISTIC",
        "probabilisticSampling": {"samplingRate": 0.01},
        "operationSampling": {
            "defaultSamplingProbability": 0.01,
            "defaultLowerBoundTracesPerSecond": 0.0,
            "perOperationStrategies": [
                {"operation": "POST /orders", "probabilisticSampling": {"samplingRate": 0.04}},
            ],
        },
    },
    "operations": [
        {
            "operation_name": "POST /orders",
            "probability": 0.04,
            "since": "2026-01-01T00:10:00.000000Z",
            "sampled_per_second": 2.05,
            "offered_per_second": 51.2,
            "measured_at": "2026-01-01T00:14:00.000000Z",
            "last_seen": "2026-01-01T00:14:00.000000Z",
        }
    ],
    "changes": [
        {
            "operation_name": "POST /orders",
            "old_probability": 0.01,
            "new_probability": 0.04,
            "sampled_per_second": 0.5,
            "offered_per_second": 50.0,
            "target_per_second": 2.0,
            "changed_at": "2026-01-01T00:10:00.000000Z",
        }
    ],
}
"""An answer; a test validates it against the model."""
