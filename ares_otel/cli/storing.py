"""The store of `ares-otel up`: put together with its spool and its figures."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from ares_otel.cli.options import UpOptions
from ares_otel.exporters.postgres.observer import TelemetryObserver
from ares_otel.exporters.postgres.spool_observer import TelemetrySpoolObserver
from ares_otel.model.batch import Accepted
from ares_otel.model.scan import BodyScanner
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs
from ares_otel.storage.rows.implementation import active
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.spool import Spool, holds_requests
from ares_otel.storage.store import Store

log = logging.getLogger("ares_otel.up")


async def open_spool(options: UpOptions, telemetry: Telemetry, stack: AsyncExitStack) -> Spool | None:
    """Where requests wait for the database, opened; None when it is switched off and nothing waits there.

    Args:
        stack: closes it.

    Raises:
        StartError: the directory cannot be used, or another process has it.
    """
    limit = options.spool_limit_mib * 1024 * 1024
    directory = options.spool_directory
    if not limit and not await asyncio.to_thread(holds_requests, directory):
        return None  # but what was acknowledged before it was switched off is still replayed
    observer = TelemetrySpoolObserver(telemetry)
    spool = Spool(directory, limit_bytes=limit, observer=observer)
    await asyncio.to_thread(spool.open)
    stack.push_async_callback(asyncio.to_thread, spool.close)
    observer.watch(spool)
    return spool


def make_store(url: str, facts: ServerFacts, telemetry: Telemetry, spool: Spool | None) -> Store:
    """The store, which counts what becomes of replayed items and tells which row encoder it uses.

    Raises:
        StartError: `ARES_OTEL_IMPL` asks for an encoder that is not there.
    """
    encoder = active()
    telemetry.gauge("ares_otel_encoder_info").labels(implementation=encoder.name).set(1)
    log.log(logging.INFO if encoder.expected else logging.WARNING, "%s", encoder.sentence)
    replayed = telemetry.counter("ares_otel_spool_items")

    def on_replayed(record: SpoolRecord, answer: Accepted) -> None:
        for outcome in ("stored", "deduplicated", "rejected"):
            replayed.labels(signal=record.signal.name, outcome=outcome).inc(getattr(answer, outcome))
        telemetry.count_items("otelcol_exporter_sent_{}", record.signal, answer.stored, exporter="postgres")

    return Store(
        url,
        connect_options=asyncpg_kwargs(facts),
        observer=TelemetryObserver(telemetry),
        spool=spool,
        on_replayed=on_replayed,
    )


def body_scanner() -> BodyScanner | None:
    """Counts the items of bodies for the receivers, where the native encoder is in use; without it they decode."""
    if active().native is None:
        return None
    from ares_otel.storage.rows.scanner import NativeScanner

    return NativeScanner()
