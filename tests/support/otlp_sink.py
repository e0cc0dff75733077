"""A real OTLP receiver on a thread of its own, for tests that run other processes: what came, by service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.otlp_receiver import Running, running


@dataclass(frozen=True, slots=True)
class Received:
    """One span, log record or metric, and who sent it."""

    resource: dict[str, Any]
    scope: str
    item: Any

    @property
    def attributes(self) -> dict[str, Any]:
        return values(self.item.attributes)


class Sink:
    """What arrived so far. Nothing here waits: senders have ended, or flushed, when a test looks."""

    def __init__(self, receiver: Running) -> None:
        self._receiver = receiver

    @property
    def grpc(self) -> str:
        return f"http://{self._receiver.grpc_target}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self._receiver.http_port}"

    def environment(self, **more: str) -> dict[str, str]:
        """Variables that send here, over gRPC, and ask for nothing else of Ares."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.grpc, **more}

    def spans(self, service: str) -> list[Received]:
        return self._of(service, "resource_spans", "scope_spans", "spans")

    def logs(self, service: str) -> list[Received]:
        return self._of(service, "resource_logs", "scope_logs", "log_records")

    def metrics(self, service: str) -> list[Received]:
        return self._of(service, "resource_metrics", "scope_metrics", "metrics")

    def _of(self, service: str, resources: str, scopes: str, items: str) -> list[Received]:
        found = []
        for batch in list(self._receiver.recording.batches):
            for group in getattr(batch.message(), resources, ()):
                resource = values(group.resource.attributes)
                if resource.get("service.name") == service:
                    found += [
                        Received(resource, scope.scope.name, item)
                        for scope in getattr(group, scopes)
                        for item in getattr(scope, items)
                    ]
        return found


def values(attributes: Any) -> dict[str, Any]:
    """Plain values of attributes; arrays and maps as text."""
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind) if kind not in ("array_value", "kvlist_value") else str(value)


@contextmanager
def otlp_sink() -> Iterator[Sink]:
    """A receiver for both protocols, until the block ends."""
    ready = threading.Event()
    state: dict[str, Any] = {}

    async def serve() -> None:
        state["end"] = asyncio.Event()
        state["loop"] = asyncio.get_running_loop()
        try:
            async with running() as receiver:
                state["receiver"] = receiver
                ready.set()
                await state["end"].wait()
        finally:
            ready.set()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield Sink(state["receiver"])
    finally:
        state["loop"].call_soon_threadsafe(state["end"].set)
        thread.join()
