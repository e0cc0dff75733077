"""Options of the `servicegraph` connector, under the names of the Collector's.

Source: opentelemetry-collector-contrib, connector/servicegraphconnector, README and config.schema.yaml.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

from pydantic import Field, model_validator

from ares_otel.connectors.elsewhere import refuse
from ares_otel.pipeline.component import ComponentConfig
from ares_otel.pipeline.duration import Duration

DEFAULT_BUCKETS = (0.002, 0.004, 0.006, 0.008, 0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.4, 2.0, 5.0, 10.0, 15.0)
"""Seconds; the Collector's."""
PEER_ATTRIBUTES = (
    "peer.service",
    "db.name",
    "db.namespace",
    "db.system.name",
    "db.system",
    "server.address",
    "net.peer.name",
    "network.peer.address",
    "rpc.service",
)
_ELSEWHERE = {
    "cache_loop": "series without requests for 15 minutes are forgotten at each hand-over; leave it out",
    "store_expiration_loop": "requests that waited long enough leave when spans come and before each hand-over;"
    " leave it out",
    "database_name_attribute": "name it in the list database_name_attributes",
    "metrics_exporter": "name the connector as a receiver in a metrics pipeline, and leave it out",
}


class StoreConfig(ComponentConfig):
    """`store`: requests of which one side was seen."""

    ttl: Duration = Field(default=2.0, gt=0, description="How long the other side is waited for.")
    max_items: int = Field(
        default=1000, ge=1, le=1_000_000, description="Requests that wait at most; one more is counted as dropped."
    )


class ServiceGraphConfig(ComponentConfig):
    """Options of the `servicegraph` connector."""

    latency_histogram_buckets: list[Duration] | None = Field(
        default=None, min_length=1, max_length=200, description="Upper bounds, rising; 2ms to 15s when not given."
    )
    exponential_histogram_max_size: int = Field(
        default=0, ge=0, le=1000, description="Buckets of exponential histograms, instead of fixed bounds; 0 for these."
    )
    dimensions: list[str] = Field(
        default=[],
        max_length=50,
        description="Attributes of the two spans, or their resources, that become `client_<name>` and `server_<name>`.",
    )
    store: StoreConfig = Field(default=StoreConfig(), description="Requests of which one side was seen.")
    metrics_flush_interval: Duration = Field(
        default=60.0, ge=0.1, description="Time between two hand-overs of data points."
    )
    virtual_node_peer_attributes: list[str] = Field(
        default=list(PEER_ATTRIBUTES),
        max_length=50,
        description="Attributes of a client's span that name its server when that sends no spans; the first one wins.",
    )
    virtual_node_extra_label: bool = Field(
        default=False, description="Whether `virtual_node` says which side sends no spans: `client` or `server`."
    )
    database_name_attributes: list[str] = Field(
        default=["db.name"],
        max_length=50,
        description="Attributes of a client's span that name a database; the first one wins.",
    )

    metrics_timestamp_offset: Duration = Field(
        default=0.0, le=86_400, description="How much earlier than now the times of the data points are, a day at most."
    )

    @model_validator(mode="before")
    @classmethod
    def _known_elsewhere(cls, values: Any) -> Any:
        return refuse(values, _ELSEWHERE)

    @model_validator(mode="after")
    def _one_kind_of_histogram(self) -> Self:
        buckets = self.latency_histogram_buckets
        if buckets is not None and self.exponential_histogram_max_size:
            raise ValueError("use either latency_histogram_buckets or exponential_histogram_max_size, not both")
        if buckets is not None and any(low >= high for low, high in pairwise(buckets)):
            raise ValueError("latency_histogram_buckets must rise: each bound above the one before")
        if self.exponential_histogram_max_size == 1:
            raise ValueError("exponential_histogram_max_size must be 0 or at least 2")
        return self
