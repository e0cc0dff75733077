"""What Ares itself publishes about stored telemetry: the live tail of spans and logs, and spans with errors.

Nothing is looked at unless somebody listens: `LiveEvents.attach` is told which function the store shall call after a
commit, and that is None as long as nobody does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ares_otel.eventbus.ending import end
from ares_otel.model.batch import Batch
from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.storage.rows.logs import log_level
from ares_otel.storage.rows.spans import KINDS, STATUSES
from ares_otel.storage.rows.values import InvalidItem, json_value

SPANS_TOPIC = "tail.spans"
LOGS_TOPIC = "tail.logs"
ERRORS_TOPIC = "spans.error"
TOPICS = (SPANS_TOPIC, LOGS_TOPIC, ERRORS_TOPIC)

LOOK_SECONDS = 0.25
"""Seconds until somebody who begins to listen is noticed."""
WAITING_BYTES = 8 * 1024 * 1024
"""Bytes of stored requests that may wait to be shown; beyond that they are not shown."""
PER_SECOND = 1000
"""Items that are shown in a second at most."""
PER_EVENT = 100
"""Items in one event of the tail."""
TEXT = 2000
SHORT_TEXT = 200
ATTRIBUTES = 32

OnCommitted = Callable[[Batch], None]


class Audience(Protocol):
    """The part of an event bus that is needed here: a worker has only this much of it, and the rest is elsewhere."""

    async def publish(self, topic: str, data: Any) -> object: ...

    def wanted_by_anyone(self, topic: str) -> bool: ...


log = logging.getLogger("ares_otel.eventbus.live")


class LiveEvents:
    """Publishes `tail.spans`, `tail.logs` and `spans.error`, after the commit, beside ingest and never in its way."""

    def __init__(
        self,
        bus: Audience,
        attach: Callable[[OnCommitted | None], None],
        *,
        dropped: Callable[[int], None] = lambda items: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """
        Args:
            attach: called with the function that wants every batch after its commit, and with None when nobody listens.
            dropped: told how many items were not shown because there were too many.
        """
        self._bus = bus
        self._attach = attach
        self._tell_dropped = dropped
        self._clock = clock
        self._waiting: deque[Batch] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._wanted: frozenset[str] = frozenset()
        self._tokens = float(PER_SECOND)
        self._filled_up = clock.monotonic()
        self._dropped = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._look_loop(), name="live look"),
            asyncio.create_task(self._show_loop(), name="live show"),
        ]

    async def stop(self) -> None:
        """Safe without `start` and twice."""
        self._attach(None)
        tasks, self._tasks = self._tasks, []
        await end(tasks)

    def committed(self, batch: Batch) -> None:
        """Takes a stored batch. Never waits and never raises."""
        if batch.signal is TRACES:
            if not (SPANS_TOPIC in self._wanted or ERRORS_TOPIC in self._wanted):
                return
        elif batch.signal is not LOGS or LOGS_TOPIC not in self._wanted:
            return
        if self._bytes + len(batch.payload) > WAITING_BYTES:
            self._drop(batch.items)
            return
        self._waiting.append(batch)
        self._bytes += len(batch.payload)
        self._filled.set()

    async def _look_loop(self) -> None:
        while True:
            wanted = frozenset(topic for topic in TOPICS if self._bus.wanted_by_anyone(topic))
            if wanted != self._wanted:
                self._wanted = wanted
                self._attach(self.committed if wanted else None)
            await asyncio.sleep(LOOK_SECONDS)

    async def _show_loop(self) -> None:
        while True:
            await self._filled.wait()
            batch = self._waiting.popleft()
            self._bytes -= len(batch.payload)
            if not self._waiting:
                self._filled.clear()
            try:
                await self._show(batch)
            except Exception:
                log.exception("A stored batch could not be shown live.")

    async def _show(self, batch: Batch) -> None:
        items = _spans(batch) if batch.signal is TRACES else _logs(batch)
        topic, name = (SPANS_TOPIC, "spans") if batch.signal is TRACES else (LOGS_TOPIC, "logs")
        shown: list[dict[str, Any]] = []
        for number, item in enumerate(items):
            if not self._allowed():
                self._drop(batch.items - number)
                break
            if topic in self._wanted:
                shown.append(item)
            if item.get("status") == "error" and ERRORS_TOPIC in self._wanted:
                await self._bus.publish(ERRORS_TOPIC, item)
            if len(shown) == PER_EVENT:
                await self._flush(topic, name, shown)
                shown = []
            if number % PER_EVENT == 0:
                await asyncio.sleep(0)  # ingest goes first
        if shown:
            await self._flush(topic, name, shown)

    async def _flush(self, topic: str, name: str, shown: list[dict[str, Any]]) -> None:
        dropped, self._dropped = self._dropped, 0
        await self._bus.publish(topic, {name: shown, "dropped": dropped})

    def _drop(self, items: int) -> None:
        self._dropped += items
        self._tell_dropped(items)

    def _allowed(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(float(PER_SECOND), self._tokens + (now - self._filled_up) * PER_SECOND)
        self._filled_up = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _spans(batch: Batch) -> Iterator[dict[str, Any]]:
    for resource_spans in batch.message().resource_spans:
        service = _service(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                code = span.status.code
                yield {
                    "start_time_unix_nano": str(span.start_time_unix_nano),
                    "service_name": service,
                    "operation_name": span.name[:SHORT_TEXT],
                    "kind": KINDS[span.kind] if 0 <= span.kind < len(KINDS) else str(span.kind),
                    "duration_ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000,
                    "status": STATUSES[code] if 0 <= code < len(STATUSES) else "unset",
                    "status_message": span.status.message[:TEXT] or None,
                    "trace_id": span.trace_id.hex()[:32],
                    "span_id": span.span_id.hex()[:16],
                    "parent_span_id": span.parent_span_id.hex()[:16] or None,
                    "attributes": _attributes(span.attributes),
                }


def _logs(batch: Batch) -> Iterator[dict[str, Any]]:
    for resource_logs in batch.message().resource_logs:
        service = _service(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield {
                    "time_unix_nano": str(record.time_unix_nano or record.observed_time_unix_nano or batch.received_ns),
                    "service_name": service,
                    "log_level": log_level(record.severity_number, record.severity_text),
                    "message": _text(record.body, TEXT),
                    "trace_id": record.trace_id.hex()[:32] or None,
                    "span_id": record.span_id.hex()[:16] or None,
                    "attributes": _attributes(record.attributes),
                }


def _service(attributes: Any) -> str:
    found = [_text(pair.value, SHORT_TEXT) for pair in attributes if pair.key == "service.name"]
    return found[-1] if found and found[-1] else "unknown_service"


def _attributes(attributes: Any) -> dict[str, Any]:
    """The first attributes, as short texts where they are not simple: the row in the table has them whole."""
    pairs: list[KeyValue] = attributes[:ATTRIBUTES]
    return {pair.key[:SHORT_TEXT]: _short(pair.value) for pair in pairs}


def _short(value: AnyValue) -> Any:
    if value.WhichOneof("value") in ("bool_value", "int_value"):
        return json_value(value)[0]
    return _text(value, SHORT_TEXT)


def _text(value: AnyValue, limit: int) -> str:
    if value.WhichOneof("value") == "string_value":
        return value.string_value[:limit]
    with contextlib.suppress(InvalidItem):
        plain = json_value(value)[0]
        return "" if plain is None else str(plain)[:limit]
    return ""
