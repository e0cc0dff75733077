"""What happened: whole traces as plain records, before anything is OTLP. Spans and logs are both made of these."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ares_otel.cli.bench.data.fleet import Service, weights

MS = 1_000_000
_DEPTH = 4
"""Services behind one another, at most."""
_TURN = 600
"""Requests that one instance of a service gets before it is another one's turn."""
_SPANS = 60
"""Spans of one trace, about; a few queues apart."""


@dataclass(slots=True)
class Deed:
    """One span: who did what for whom, and when."""

    service: Service
    instance: int
    role: str
    """server, client, database, internal, producer or consumer."""
    what: str
    """Route, table, topic or function."""
    method: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    peer: str
    """The service on the other end, for clients, producers and consumers."""
    link: bytes
    """Span id of the message that a consumer took; empty for others."""
    start: int
    end: int
    failed: bool
    number: int
    """Something that differs: an order, a page, a customer."""


class Storyteller:
    """Tells one trace after the other, in the order of time."""

    def __init__(self, fleet: list[Service], source: random.Random) -> None:
        self._fleet = fleet
        self._source = source
        self._popularity = weights(len(fleet))
        self._served = Counter[int]()

    def traces(self, start: int, end: int, spans: int) -> Iterator[list[Deed]]:
        """Traces of so many spans together that begin from `start` to `end`, nanoseconds. The last one is cut to fit:
        a parent stands before its children, so no span loses its own."""
        left = spans
        while left > 0:
            at = start + (end - start) * (spans - left) // spans
            deeds = self._trace(at)[:left]
            left -= len(deeds)
            yield deeds

    def _trace(self, at: int) -> list[Deed]:
        deeds: list[Deed] = []
        root = self._source.choices(self._fleet, self._popularity)[0]
        self._serve(deeds, root, self._source.randbytes(16), b"", at, 0)
        return deeds

    def _serve(self, deeds: list[Deed], service: Service, trace: bytes, parent: bytes, at: int, depth: int) -> Deed:
        """A request that a service answers, with all that it does for it; returns the server's span."""
        source = self._source
        method, route = service.routes[min(int(source.expovariate(0.6)), len(service.routes) - 1)]
        server = self._deed(deeds, service, "server", route, method, trace, parent, at)
        instance = server.instance
        now = at + source.randrange(50_000, 400_000)
        if source.random() < 0.3:
            inner = self._deed(deeds, service, "internal", "authorize", "", trace, server.span_id, now, instance)
            now = inner.end = now + source.randrange(20_000, 300_000)
        for _ in range(min(int(source.expovariate(0.7)), 4)):
            query = self._deed(
                deeds, service, "database", source.choice(service.tables), "", trace, server.span_id, now, instance
            )
            now = query.end = now + int(source.lognormvariate(13.5, 1.1))
        if depth < _DEPTH:
            for index in service.calls[: min(int(source.expovariate(0.8)), 3)]:
                if len(deeds) < _SPANS:
                    now = self._call(deeds, server, self._fleet[index], now, depth)
        if source.random() < 0.12:
            self._publish(deeds, server, now)
        server.failed = server.failed or source.random() < 0.01
        server.end = now + source.randrange(30_000, 900_000)
        return server

    def _call(self, deeds: list[Deed], server: Deed, callee: Service, at: int, depth: int) -> int:
        client = self._deed(
            deeds, server.service, "client", callee.name, "GET", server.trace_id, server.span_id, at, server.instance
        )
        client.peer = callee.name
        answer = self._serve(deeds, callee, server.trace_id, client.span_id, at + 200_000, depth + 1)
        client.method, client.what, client.failed = answer.method, answer.what, answer.failed
        client.end = answer.end + 200_000
        server.failed = server.failed or (answer.failed and self._source.random() < 0.5)
        return client.end

    def _publish(self, deeds: list[Deed], server: Deed, at: int) -> None:
        topic = f"{server.service.name}.changed"
        listener = self._fleet[server.service.listener]
        producer = self._deed(
            deeds, server.service, "producer", topic, "", server.trace_id, server.span_id, at, server.instance
        )
        producer.peer, producer.end = listener.name, at + 300_000
        later = at + self._source.randrange(2 * MS, 900 * MS)
        consumer = self._deed(deeds, listener, "consumer", topic, "", server.trace_id, producer.span_id, later)
        consumer.peer, consumer.link = server.service.name, producer.span_id
        consumer.end = later + int(self._source.lognormvariate(15, 1))

    def _next_instance(self, service: Service) -> int:
        """A balancer that keeps to one instance for a while: an instance's spans then fill requests of its own."""
        self._served[service.index] += 1
        return self._served[service.index] // _TURN % service.instances

    def _deed(
        self,
        deeds: list[Deed],
        service: Service,
        role: str,
        what: str,
        method: str,
        trace: bytes,
        parent: bytes,
        at: int,
        instance: int | None = None,
    ) -> Deed:
        source = self._source
        chosen = self._next_instance(service) if instance is None else instance
        failed = role == "database" and source.random() < 0.003
        number = source.randrange(100_000)
        deed = Deed(
            service, chosen, role, what, method, trace, source.randbytes(8), parent, "", b"", at, at, failed, number
        )
        deeds.append(deed)
        return deed
