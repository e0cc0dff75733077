"""The providers around a fork and at the end of a process: what the SDK leaves to do."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from ares_otel.sdk.providers import Providers

LOG = logging.getLogger(__name__)

RETRY_SECONDS = 1.5
"""How long exports are retried when the process ends: one more time."""


def quiet(providers: Providers, timeout_seconds: float) -> list[threading.Lock]:
    """Waits until no export is under way, and lets none begin until the locks are released. A fork in the middle of a
    call of gRPC leaves a child whose calls may hang.

    Args:
        providers: as `build` gave them.
        timeout_seconds: for all of them; those that are still at it then go on.
    """
    deadline = time.monotonic() + timeout_seconds
    locks = [batch._batch_processor._export_lock for batch in providers.batches]
    locks += [reader._export_lock for reader in providers.readers if isinstance(reader, PeriodicExportingMetricReader)]
    return [lock for lock in locks if lock.acquire(timeout=max(0.0, deadline - time.monotonic()))]


def forked(providers: Providers, resource: Resource) -> None:
    """Repairs the providers in the child of a fork, after the SDK has: what the parent counted is the parent's, locks
    that a thread of the parent may have held are new, and so are the connections of OTLP exporters.

    Args:
        providers: as `build` gave them.
        resource: what is different about the child.
    """
    if "process.pid" in providers.traces.resource.attributes:
        for provider in (providers.traces, providers.metrics, providers.logs):
            provider._update_resource(resource)
    consumer = providers.metrics._measurement_consumer
    consumer._lock = threading.Lock()
    for reader in providers.readers:
        if isinstance(reader, PeriodicExportingMetricReader):
            reader._export_lock = threading.Lock()
        consumer.add_metric_reader(reader)  # an empty storage in the place of the parent's
    for connect in providers.connections:
        connect()


def end(providers: Providers, deadline: float, meanwhile: Callable[[float], bool]) -> bool:
    """Sends what is under way and shuts the providers down; True when that was done by the deadline.

    All queues are asked to empty themselves at once, each on its own thread. Whoever has not succeeded after a moment
    may finish the attempt that is under way, and makes no other, and metrics are tried once: where nobody answers, a
    process does not wait for all of its time. Exporters that are still at it at the deadline are shut down.

    Args:
        providers: those of the process.
        deadline: `time.monotonic()`.
        meanwhile: does something else, within so many seconds, half of the time; False where that failed.
    """
    queues = [batch._batch_processor for batch in providers.batches]
    for waiting in queues:
        waiting._shutdown = True
        waiting._worker_awaken.set()
    done = meanwhile(max(0.0, deadline - time.monotonic()) / 2)
    patience = min(deadline, time.monotonic() + RETRY_SECONDS)
    for waiting in queues:
        waiting._worker_thread.join(_left(patience))
    for exporter in providers.exporters:
        _no_more_attempts(exporter)
    try:
        providers.metrics.shutdown(timeout_millis=_left(deadline) * 1000)
    except Exception as error:
        LOG.warning("metrics could not be ended in order: %s", error)
        done = False
    for waiting in queues:
        waiting._worker_thread.join(_left(deadline))
        done = done and not waiting._worker_thread.is_alive()
        waiting._shutdown_timeout_exceeded = True
        done = _shut_down(waiting._exporter, deadline) and done
    providers.traces.shutdown()
    providers.logs.shutdown()
    return done


def _no_more_attempts(exporter: Any) -> None:
    """An OTLP exporter that waits to try again gives up; an attempt that is under way goes on."""
    ended = getattr(exporter, "_shutdown_in_progress", None) or getattr(
        getattr(exporter, "_client", None), "_shutdown_event", None
    )
    if isinstance(ended, threading.Event):
        ended.set()


def _shut_down(exporter: Any, deadline: float) -> bool:
    """False where the exporter says that it dropped something because of that."""
    if "timeout_millis" in inspect.signature(exporter.shutdown).parameters:
        exporter.shutdown(timeout_millis=_left(deadline) * 1000)
    else:
        exporter.shutdown()
    return not (hasattr(exporter, "stats") and exporter.stats().dropped.get("shutdown"))


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())
