"""What is at the other end of a call: a service, a database, a queue, or something that sends no spans."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import asyncpg

from ares_otel.storage.rollups import edges
from ares_otel.storage.rollups.edge_search import MOST_LEAVES, OTHERS
from ares_otel.storage.rollups.transaction import transaction
from ares_otel.storage.store import Store
from tests.support.service_map import (
    BEGIN,
    CLIENT,
    CONSUMER,
    INTERNAL,
    MINUTE,
    PRODUCER,
    SERVER,
    edges_of,
    link,
    look,
    made,
    send,
)

PEERS: list[tuple[dict[str, Any], str, str]] = [
    # Databases: the names of today and those before.
    ({"db.system.name": "postgresql", "db.namespace": "shop", "server.address": "db"}, "database", "postgresql/shop"),
    ({"db.system": "mysql", "db.name": "crm", "net.peer.name": "db"}, "database", "mysql/crm"),
    ({"db.system.name": "a", "db.system": "b", "db.namespace": "c", "db.name": "d"}, "database", "a/c"),
    ({"db.system": "redis", "db.namespace": "0", "server.address": "cache"}, "database", "redis/cache"),
    ({"db.system": "redis", "db.redis.database_index": 3}, "database", "redis/3"),
    ({"db.system": "mongodb", "server.address": "m", "server.port": 27017}, "database", "mongodb/m:27017"),
    ({"db.system": "sqlite"}, "database", "sqlite"),
    ({"db.system": "mysql", "db.name": "crm", "peer.service": "crm-db"}, "database", "crm-db"),
    # Others, by what the caller knows of them.
    ({"peer.service": "billing", "server.address": "10.0.0.1"}, "external", "billing"),
    ({"service.peer.name": "bill", "peer.service": "billing"}, "external", "bill"),
    ({"server.address": "api.example.com", "server.port": 443}, "external", "api.example.com"),
    ({"server.address": "localhost", "server.port": 9000}, "external", "localhost:9000"),
    ({"net.peer.name": "old.example.com", "net.peer.port": 80}, "external", "old.example.com"),
    ({"net.sock.peer.addr": "10.0.0.2"}, "external", "10.0.0.2"),
    ({"url.full": "https://me:secret@pay.example.com/v1?k=v"}, "external", "pay.example.com"),
    ({"http.url": "http://[::1]:8080/x@y"}, "external", "[::1]:8080"),
    ({"http.host": "host.example.com"}, "external", "host.example.com"),
    ({"rpc.system": "grpc", "rpc.service": "shop.Cart"}, "external", "shop.Cart"),
    ({"server.address": "", "rpc.service": "shop.Cart2"}, "external", "shop.Cart2"),
    ({"server.address": "ü" * 300}, "external", "ü" * 100),
    # Queues that nobody reads, or nobody who sends spans.
    ({"messaging.system": "kafka", "messaging.destination.name": "orders"}, "messaging", "kafka/orders"),
    ({"messaging.system": "rabbitmq", "messaging.destination": "old"}, "messaging", "rabbitmq/old"),
    (
        {"messaging.system": "jms", "messaging.destination.name": "t-17", "messaging.destination.temporary": True},
        "messaging",
        "jms/(temporary)",
    ),
    (
        {
            "messaging.system": "nats",
            "messaging.destination.name": "c.17",
            "messaging.destination.template": "c.{id}",
        },
        "messaging",
        "nats/c.{id}",
    ),
]
NOBODY: list[dict[str, Any]] = [
    {},
    {"http.request.method": "GET"},
    {"url.full": "not a url"},
    {"messaging.system": "kafka", "messaging.destination.name": "orders", "messaging.operation.type": "receive"},
    {"messaging.system": "kafka", "messaging.operation": "process"},
]
KAFKA = {"messaging.system": "kafka", "messaging.destination.name": "orders"}


async def test_what_sends_no_spans_is_named_by_the_conventions(store: Store, sql: asyncpg.Connection) -> None:
    expected = set()
    sends = []
    for number, (attributes, kind, name) in enumerate(PEERS):
        caller = f"caller-{number}"
        sends.append(send(store, caller, made(CLIENT, attributes=attributes)))
        expected.add((caller, name, kind, kind))
    sends += [send(store, f"nobody-{number}", made(CLIENT, attributes=NOBODY[number])) for number in range(len(NOBODY))]
    await asyncio.gather(*sends)
    await look(store, sql)
    rows = await sql.fetch("SELECT parent_service, child_service, child_type, connection_type FROM service_edges")
    assert {tuple(row) for row in rows} == expected


async def test_a_call_through_two_libraries_is_one_call_and_answered_when_the_inner_one_is(
    store: Store, sql: asyncpg.Connection
) -> None:
    orm = made(CLIENT, attributes={"db.system": "postgresql", "db.name": "shop"})
    driver = made(CLIENT, orm, attributes={"db.system": "postgresql", "server.address": "db"})
    publish = made(PRODUCER, attributes={"messaging.system": "aws_sqs", "messaging.destination.name": "jobs"})
    request = made(CLIENT, publish, attributes={"server.address": "sqs.amazonaws.com"})
    rpc = made(CLIENT, attributes={"rpc.service": "Cart"})
    transport = made(CLIENT, rpc, attributes={"server.address": "cart.internal"})
    await send(store, "shop", orm, driver, publish, request, rpc, transport)
    await send(store, "cart", made(SERVER, transport))
    assert await look(store, sql) == {
        ("shop", "postgresql/shop", "database", 1),
        ("shop", "aws_sqs/jobs", "messaging", 1),
        ("shop", "cart", "call", 1),
    }


async def test_messages_are_found_by_parent_and_by_link_and_each_counts_once(
    store: Store, sql: asyncpg.Connection
) -> None:
    first, second, third, fourth = (made(PRODUCER, attributes=KAFKA) for _ in range(4))
    await send(store, "shop", first, second, third)
    await send(store, "till", fourth)
    # One that names its producer twice, one that processes what the service received, a batch of two senders.
    both = made(CONSUMER, first, links=[link(first), link(first)], attributes=KAFKA)
    received = made(CONSUMER, links=[link(second)], attributes=KAFKA | {"messaging.operation.type": "receive"})
    processed = made(CONSUMER, received, links=[link(second)], attributes=KAFKA)
    together = made(CONSUMER, links=[link(third), link(fourth)], attributes=KAFKA)
    await send(store, "mail", both, received, processed, together)
    # Links that lead nowhere, to itself, or are no ids.
    odd = made(CONSUMER, attributes=KAFKA)
    odd.links.extend([link(odd), link(made(PRODUCER)), type(link(odd))(trace_id=b"short", span_id=b"")])
    await send(store, "odd", odd)
    assert await look(store, sql) == {("shop", "mail", "messaging", 3), ("till", "mail", "messaging", 1)}
    assert await sql.fetchval("SELECT array_agg(DISTINCT destination) FROM service_edges") == ["kafka/orders"]
    # A service that only fetches: then that is what counts. In another trace, in another minute.
    other = made(PRODUCER, at=BEGIN - 20 * MINUTE)
    await send(store, "shop", other)
    fetched = made(CONSUMER, links=[link(other)], attributes={"messaging.operation": "receive"})
    await send(store, "fetch", fetched)
    assert ("shop", "fetch", "messaging", 1) in await look(store, sql)


async def test_a_service_that_calls_another_instance_of_itself_has_an_edge_to_itself(
    store: Store, sql: asyncpg.Connection
) -> None:
    call, own, inner = made(CLIENT), made(CLIENT), made(INTERNAL)
    await send(store, "store", call, own, inner, instance="1")
    await send(store, "store", made(SERVER, call), instance="2")
    await send(store, "store", made(SERVER, own), instance="1")
    await send(store, "store", made(SERVER, inner), instance="3")
    assert await look(store, sql) == {("store", "store", "call", 1)}


async def test_a_service_that_calls_thousands_of_addresses_has_some_of_them_in_the_map(
    store: Store, sql: asyncpg.Connection
) -> None:
    calls = [made(CLIENT, attributes={"server.address": f"10.0.{n // 250}.{n % 250}"}) for n in range(600)]
    await send(store, "crawler", *calls, made(CLIENT, attributes={"server.address": "10.0.0.0"}))
    found = await look(store, sql)
    assert len(found) == MOST_LEAVES + 1
    assert ("crawler", "10.0.0.0", "external", 2) in found
    assert ("crawler", OTHERS, "external", 601 - MOST_LEAVES - 1) in found
    assert await edges_of(sql) == found


async def test_the_longest_names_fit_an_index_entry(store: Store, sql: asyncpg.Connection) -> None:
    source = random.Random(1)

    def name() -> str:
        return "".join(chr(source.randrange(0x20000, 0x2A000)) for _ in range(300))

    parent, child, queue = name(), name(), name()
    message = made(PRODUCER)
    attributes = {"messaging.system": name(), "messaging.destination.name": queue}
    await send(store, parent, message, made(PRODUCER, attributes=attributes))
    await send(store, child, made(CONSUMER, message, attributes=attributes))
    assert {edge[:2] for edge in await look(store, sql)} == {
        (parent[:255], child[:255]),
        (parent[:255], attributes["messaging.system"][:100]),
    }


async def test_of_very_many_calls_to_a_database_a_part_tells_about_all(store: Store, sql: asyncpg.Connection) -> None:
    calls = [
        made(CLIENT, at=BEGIN + number * MINUTE // 400, attributes={"db.system": "redis"}) for number in range(400)
    ]
    await send(store, "shop", *calls)
    assert await look(store, sql) == {("shop", "redis", "database", 400)}
    minute = datetime.fromtimestamp(BEGIN / 1e9, UTC)
    async with transaction(sql):
        await edges.find_edges(sql, minute, minute, most=100)
    assert await edges_of(sql) == {("shop", "redis", "database", 400)}
    assert await sql.fetchval("SELECT cardinality(unanswered) FROM service_edge_minutes") == 100
