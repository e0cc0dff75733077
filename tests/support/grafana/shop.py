"""Telemetry of half an hour for the dashboards: a shop whose storefront calls its orders, which ask a database and
payments, with some failures; log records in the traces, metrics of every kind, and Ares's own spans and log records."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ares_otel.storage.store import Store
from tests.support.ingested import counter, gauge, histogram
from tests.support.otlp_samples import batch_of, log_record, logs_request, metrics_request, trace_request
from tests.support.rollups import run_once
from tests.support.service_map import CLIENT, INTERNAL, MINUTE, SERVER, made

MINUTES = 20
_MS = 1_000_000
_ERROR = Status(code=Status.STATUS_CODE_ERROR, message="The card was declined")
_REGISTRY = """
INSERT INTO service_registry (name, instance_id, version, status, last_telemetry, status_reason)
VALUES ('orders', 'pod-1', '1.4.2', 'online', now(), 'Its telemetry comes.'),
       ('payments', 'pod-1', '1.4.2', 'degraded', now(), 'It says so itself.')
"""
_REJECTED = """
INSERT INTO ingest_rejected (received_at, signal, service_name, items, reason, sqlstate, told, key, payload)
VALUES (now() - interval '5 minutes', 'logs', 'orders', 3, 'value too long', '22001', true, '\\x00', '\\x00')
"""
_SPOOL = "INSERT INTO ingest_spools (spool_id, place) VALUES (gen_random_uuid(), 'kappa:/var/lib/ares-otel/spool')"


@dataclass
class Shop:
    """The telemetry. `begin` is its first minute in nanoseconds, `traces` are the ids of its checkouts in hex."""

    begin: int = field(default_factory=lambda: (time.time_ns() // MINUTE - MINUTES) * MINUTE)
    traces: list[str] = field(default_factory=list)

    async def stored(self, store: Store, sql: asyncpg.Connection) -> None:
        """Stores it, and has the roll-ups merged and the service map found."""
        for minute in range(MINUTES):
            for number in range(3):
                await self._checkout(store, self.begin + minute * MINUTE + number * 15_000 * _MS, failed=number == 2)
            await self._measured(store, minute)
        await sql.execute(_REGISTRY)
        await sql.execute(_REJECTED)
        await sql.execute(_SPOOL)
        for _ in range(2):
            await sql.execute("UPDATE service_edge_minutes SET computed_at = computed_at - interval '5 minutes'")
            await run_once(store.connect)

    async def _checkout(self, store: Store, at: int, *, failed: bool) -> None:
        def one(kind: Any, parent: Span | None, name: str, milliseconds: int, **more: Any) -> Span:
            end = at + milliseconds * _MS
            return made(kind, parent, at=at, name=name, end_time_unix_nano=end, **more)

        status: dict[str, Any] = {"status": _ERROR} if failed else {}
        root = one(SERVER, None, "POST /checkout", 120, **status)
        call = one(CLIENT, root, "POST", 100, **status)
        order = one(SERVER, call, "POST /orders", 90, attributes={"order.id": at // MINUTE, "shop.sku": "mug-blue"})
        query = one(CLIENT, order, "INSERT", 5, attributes={"db.system.name": "postgresql", "db.namespace": "shop"})
        inner = one(INTERNAL, order, "price the order", 3)
        charge = one(CLIENT, order, "POST", 60, **status)
        paid = one(SERVER, charge, "POST /charges", 50 if failed else 40, **status)
        own = one(SERVER, None, "GET /api/v1/observability/logs", 4)
        for service, spans in (
            ("storefront", [root, call]),
            ("orders", [order, query, inner, charge]),
            ("payments", [paid]),
            ("ares-api", [own]),
        ):
            attributes = {"host.name": "kappa", "service.instance.id": "pod-1", "telemetry.sdk.language": "python"}
            await store.consume(batch_of(trace_request(service, spans, **attributes)))
        for service, span in (("orders", order), ("payments", paid), ("ares-api", own)):
            records = [
                log_record(
                    time_unix_nano=at,
                    severity_number=level,
                    severity_text="",
                    body=AnyValue(string_value=said),
                    trace_id=span.trace_id,
                    span_id=span.span_id,
                )
                for level, said in ((17 if failed else 9, "The order was looked at"), (5, "Nothing to say"))
            ]
            await store.consume(batch_of(logs_request(service, records)))
        self.traces.append(root.trace_id.hex())

    async def _measured(self, store: Store, minute: int) -> None:
        at: dict[str, Any] = {
            "time_unix_nano": self.begin + minute * MINUTE,
            "start_time_unix_nano": self.begin - MINUTE,
        }
        metrics: Sequence[Metric] = [
            gauge("inventory.stock", 100 - minute, labels={"sku": "mug-blue"}, **at),
            counter("orders.placed", 7 * minute, labels={"sku": "mug-blue"}, **at),
            histogram(count=6 * (minute + 1), sum=0.9 * (minute + 1), bucket_counts=[2, 1, 2, 6 * minute + 1], **at),
        ]
        await store.consume(batch_of(metrics_request("orders", metrics)))
