"""The map of random traces that come in random order is what a walk over all of their spans says."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import asyncpg
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ares_otel.storage.store import Store
from tests.support.service_map import (
    BEGIN,
    CLIENT,
    CONSUMER,
    INTERNAL,
    MINUTE,
    PRODUCER,
    SERVER,
    link,
    look,
    made,
    send,
)

MINUTES = 8
KINDS = (SERVER, SERVER, CLIENT, CLIENT, CONSUMER, PRODUCER, INTERNAL)
SERVICES = ("a", "b", "c", "d")
PEERS: tuple[tuple[dict[str, Any], tuple[str, str] | None], ...] = (
    ({}, None),
    ({"db.system": "postgresql", "db.name": "shop"}, ("postgresql/shop", "database")),
    ({"server.address": "pay.example.com"}, ("pay.example.com", "external")),
    ({"messaging.system": "kafka", "messaging.destination.name": "t"}, ("kafka/t", "messaging")),
)
CALLS = (CLIENT, PRODUCER)


def traces(source: random.Random) -> list[tuple[str, Span, tuple[str, str] | None]]:
    """Services, their spans, and whom these name."""
    found: list[tuple[str, Span, tuple[str, str] | None]] = []
    for _ in range(50):
        trace: list[Span] = []
        for _ in range(source.randrange(1, 8)):
            parent = source.choice(trace) if trace else None
            kind = source.choice(KINDS)
            begin = BEGIN if parent is None else parent.start_time_unix_nano
            # Mostly at once, sometimes minutes later.
            at = begin + (source.randrange(3 * MINUTE) if source.random() < 0.3 else source.randrange(10**9))
            at = min(at, BEGIN + MINUTES * MINUTE - 1)
            attributes, peer = source.choice(PEERS) if kind in CALLS else ({}, None)
            one = made(kind, parent, at=at, attributes=attributes)
            if kind == CONSUMER and found:
                one.links.extend(link(source.choice(found)[1]) for _ in range(source.randrange(3)))
            trace.append(one)
            found.append((source.choice(SERVICES), one, peer))
    return found


def walked(spans: list[tuple[str, Span, tuple[str, str] | None]]) -> set[tuple[str, str, str, int]]:
    """The edges, one span after the other."""
    edges: Counter[tuple[str, str, str]] = Counter()
    known = {one.span_id: (service, one, peer) for service, one, peer in spans}
    answered: set[bytes] = set()
    for service, one, _ in spans:
        if one.kind not in (SERVER, CONSUMER):
            continue
        how = "messaging" if one.kind == CONSUMER else "call"
        if one.parent_span_id:
            answered.add(one.parent_span_id)
            other = known[one.parent_span_id][0]
            if other != service:
                edges[other, service, how] += 1
        for target in {to.span_id for to in one.links} - {one.parent_span_id}:
            other, span, _ = known[target]
            if other != service and span.kind != CONSUMER:
                edges[other, service, how] += 1
                answered.add(target)

    def outer(service: str, one: Span) -> bytes | None:
        """The call that this call is a part of."""
        other, span, peer = known.get(one.parent_span_id, ("", None, None))
        if span is None or peer is None or other != service:
            return None
        same = span.start_time_unix_nano // MINUTE == one.start_time_unix_nano // MINUTE
        return span.span_id if same else None

    inner_answered = {
        one.parent_span_id
        for _, one, peer in spans
        if peer is not None
        and one.span_id in answered
        and one.parent_span_id in known
        and known[one.parent_span_id][1].start_time_unix_nano // MINUTE == one.start_time_unix_nano // MINUTE
    }
    for service, one, peer in spans:
        if peer is not None and one.span_id not in answered | inner_answered and outer(service, one) is None:
            edges[service, peer[0], peer[1]] += 1
    return {(*edge, calls) for edge, calls in edges.items()}


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_map_is_what_a_walk_over_all_spans_says(store: Store, sql: asyncpg.Connection, seed: int) -> None:
    source = random.Random(seed)
    spans = traces(source)
    order = list(spans)
    source.shuffle(order)
    for start in range(0, len(order), 60):
        await asyncio.gather(*(send(store, service, one) for service, one, _ in order[start : start + 60]))
        await look(store, sql, rounds=1)
    assert await look(store, sql, rounds=3) == walked(spans)
