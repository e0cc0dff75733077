"""The `servicegraph` connector: takes spans, and hands on the requests between services."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.connectors.decoding import decoded
from ares_otel.connectors.emitter import Emitter
from ares_otel.connectors.points import Count, Explicit, Exponential, Point
from ares_otel.connectors.series import Family, Series
from ares_otel.connectors.servicegraph.config import DEFAULT_BUCKETS, ServiceGraphConfig
from ares_otel.connectors.servicegraph.edges import DATABASE, MESSAGING, VIRTUAL, Edge, Edges, labels
from ares_otel.connectors.spans import has_parent, is_valid, service_name, text, text_attribute, wanted_attributes
from ares_otel.model.batch import Batch, Consumer
from ares_otel.model.signal import METRICS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ConnectorFactory
from ares_otel.pipeline.identity import Identity

SCOPE = "traces_service_graph"
"""The Collector's name for itself here."""
USER = "user"
"""The client of a request whose trace begins at the server."""
FORGOTTEN_SECONDS = 15 * 60.0
"""After which a series without requests is forgotten, as by the Collector."""
SLICE_SPANS = 1000
"""Spans that are looked at before others may run."""

_CLIENTS = (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_PRODUCER)
_SERVERS = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER)


class ServiceGraph:
    """Counts requests between services, and hands data points on in intervals and once more at the end."""

    def __init__(self, context: BuildContext, config: ServiceGraphConfig, consumers: Mapping[Signal, Consumer]) -> None:
        self._clock = context.clock
        self._config = config
        self._outcomes = context.telemetry.counter("ares_otel_connector_edges")
        self._id = context.id
        identity = context.services.get(Identity, Identity())
        # Not Ares's own name: series of that are not told to a Prometheus, which has them from /metrics.
        self._resource = [text_attribute("service.name", context.id)]
        if identity.writer:
            self._resource.append(text_attribute("service.instance.id", identity.writer))
        self._requests, self._failed, self._server, self._client = families = _families(config)
        self._series = Series(families, [])
        self._edges = Edges(round(config.store.ttl * 1e9), config.store.max_items, self._done)
        self._names = frozenset(
            [*config.dimensions, *config.virtual_node_peer_attributes, *config.database_name_attributes]
        )
        self.emitter = Emitter(
            context,
            consumers[METRICS],
            self._series,
            scope=SCOPE,
            interval=config.metrics_flush_interval,
            series_seconds=FORGOTTEN_SECONDS,
            offset_seconds=config.metrics_timestamp_offset,
            before=lambda: self._edges.expire(self._clock.time_ns()),
        )

    async def start(self) -> None:
        """Begins to hand on."""
        await self.emitter.start()

    async def stop(self) -> None:
        """Gives up waiting for other sides, and hands on what is left."""
        self._edges.expire(None)
        await self.emitter.stop()

    async def observe(self, batch: Batch) -> None:
        """Enters the spans of a batch.

        Raises:
            Rejected: it cannot be decoded.
        """
        request, now_ns, seen = await decoded(batch), self._clock.time_ns(), 0
        self._edges.expire(now_ns)
        for resource_spans in request.resource_spans:
            attributes = resource_spans.resource.attributes
            service, places = service_name(attributes), wanted_attributes(self._names, attributes)
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    if is_valid(span):
                        self._enter(service, places, span, now_ns)
                    seen += 1
                    if seen % SLICE_SPANS == 0:
                        await asyncio.sleep(0)

    def _enter(self, service: str, resource: Mapping[str, AnyValue], span: Any, now_ns: int) -> None:
        if span.kind in _CLIENTS:
            key, change = (span.trace_id, span.span_id), self._client_side
        elif span.kind in _SERVERS:
            key, change = (span.trace_id, span.parent_span_id), self._server_side
        else:
            return
        own = wanted_attributes(self._names, span.attributes)
        found = {**resource, **own}
        if not self._edges.side(key, now_ns, partial(change, service, found, own, span)):
            self._count("dropped")

    def _client_side(
        self, service: str, found: Mapping[str, AnyValue], own: Mapping[str, AnyValue], span: Any, edge: Edge
    ) -> None:
        edge.client = service
        edge.client_seconds = _seconds(span)
        edge.peer = _first(self._config.virtual_node_peer_attributes, own)
        self._both_sides("client", found, span, edge)
        database = _first(self._config.database_name_attributes, found)
        if database and not edge.server:
            edge.server, edge.connection_type = database, DATABASE
            edge.server_seconds = edge.client_seconds

    def _server_side(
        self, service: str, found: Mapping[str, AnyValue], own: Mapping[str, AnyValue], span: Any, edge: Edge
    ) -> None:
        edge.server = service
        edge.server_seconds = _seconds(span)
        self._both_sides("server", found, span, edge)
        if not has_parent(span) and self._config.virtual_node_peer_attributes:  # nobody can be waited for
            edge.client, edge.connection_type, edge.virtual = USER, VIRTUAL, "client"

    def _both_sides(self, side: str, found: Mapping[str, AnyValue], span: Any, edge: Edge) -> None:
        if span.kind in (Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER):
            edge.connection_type = MESSAGING
        edge.failed = edge.failed or span.status.code == Status.STATUS_CODE_ERROR
        for name in self._config.dimensions:
            if name in found:
                edge.dimensions[f"{side}_{name}"] = text(found[name])

    def _done(self, edge: Edge, outcome: str) -> None:
        if outcome == "expired" and edge.client and edge.peer:
            edge.server, edge.connection_type, edge.virtual = edge.peer, VIRTUAL, "server"
            outcome = "complete"
        self._count(outcome)
        if outcome != "complete":
            return
        now_ns = self._clock.time_ns()
        made = labels(edge, with_virtual=self._config.virtual_node_extra_label)
        key = tuple(made.items())
        group = self._series.group(b"", self._resource, now_ns)
        counted: list[tuple[Family, float | None]] = [
            (self._requests, 1),
            (self._failed, 1 if edge.failed else None),
            (self._server, edge.server_seconds),
            (self._client, edge.client_seconds),
        ]
        for family, value in counted:
            if value is not None:
                self._series.note(group, family, key, partial(_attributes, made), value, now_ns)

    def _count(self, outcome: str) -> None:
        self._outcomes.labels(connector=self._id, outcome=outcome).inc()


def _families(config: ServiceGraphConfig) -> tuple[Family, Family, Family, Family]:
    bounds = [float(f"{one:.9g}") for one in config.latency_histogram_buckets or DEFAULT_BUCKETS]

    def count(attributes: Sequence[KeyValue], now_ns: int) -> Point:
        return Count(attributes, now_ns, 0)

    def seconds(attributes: Sequence[KeyValue], now_ns: int) -> Point:
        if config.exponential_histogram_max_size:
            return Exponential(attributes, now_ns, 0, config.exponential_histogram_max_size)
        return Explicit(attributes, now_ns, 0, bounds)

    return (
        Family("traces_service_graph_request_total", "", count),
        Family("traces_service_graph_request_failed_total", "", count),
        Family("traces_service_graph_request_server", "s", seconds),
        Family("traces_service_graph_request_client", "s", seconds),
    )


def _attributes(made: Mapping[str, str | bool]) -> list[KeyValue]:
    return [
        KeyValue(key=key, value=AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(string_value=value))
        for key, value in made.items()
    ]


def _first(names: Sequence[str], found: Mapping[str, AnyValue]) -> str:
    return next((said for name in names if name in found and (said := text(found[name]))), "")


def _seconds(span: Any) -> float:
    return float(max(span.end_time_unix_nano - span.start_time_unix_nano, 0)) / 1e9


FACTORY = ConnectorFactory(
    type="servicegraph",
    config=ServiceGraphConfig,
    build=ServiceGraph,
    signals=frozenset({TRACES}),
    emits=frozenset({METRICS}),
)
NEW_NAME_FACTORY = ConnectorFactory(
    type="service_graph",
    config=ServiceGraphConfig,
    build=ServiceGraph,
    signals=frozenset({TRACES}),
    emits=frozenset({METRICS}),
)
"""The same under the name that newer Collectors prefer."""
