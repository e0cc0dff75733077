"""The store of a process: put together with its spool and its figures."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from ares_otel.cli.leftover_spools import LeftoverSpools
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
from ares_otel.storage.writer import CONNECTIONS

log = logging.getLogger("ares_otel.up")


class Storing:
    """Makes the spool, then the store, and what replays the spools of others."""

    def __init__(self, options: UpOptions, telemetry: Telemetry) -> None:
        self._options = options
        self._telemetry = telemetry
        self._observer = TelemetrySpoolObserver(telemetry)
        self._spool: Spool | None = None

    async def open_spool(self, stack: AsyncExitStack) -> None:
        """Opens where requests wait for the database; does nothing when it is switched off and nothing waits there.

        Args:
            stack: closes it.

        Raises:
            StartError: the directory cannot be used, or another process has it.
        """
        limit = self._options.spool_limit_mib * 1024 * 1024
        directory = self._options.spool_directory
        if not limit and not await asyncio.to_thread(holds_requests, directory):
            return  # but what was acknowledged before it was switched off is still replayed
        spool = self._spool = Spool(directory, limit_bytes=limit, observer=self._observer)
        await asyncio.to_thread(spool.open)
        stack.push_async_callback(asyncio.to_thread, spool.close)
        self._observer.watch(spool)

    def make_store(self, url: str, facts: ServerFacts, connections: int = CONNECTIONS) -> Store:
        """The store, which counts what becomes of replayed items and shows which row encoder it uses.

        Args:
            connections: for each signal.

        Raises:
            StartError: `ARES_OTEL_IMPL` asks for an encoder that is not there.
        """
        self._telemetry.gauge("ares_otel_encoder_info").labels(implementation=active().name).set(1)
        return Store(
            url,
            connect_options=asyncpg_kwargs(facts),
            observer=TelemetryObserver(self._telemetry),
            spool=self._spool,
            on_replayed=self._on_replayed,
            connections=connections,
        )

    def leftovers(self, workers: int) -> LeftoverSpools:
        """What replays the spools of workers with a number above this one."""
        root = self._options.spool_directory
        return LeftoverSpools(root, workers=workers, observer=self._observer, on_replayed=self._on_replayed)

    def _on_replayed(self, record: SpoolRecord, answer: Accepted) -> None:
        replayed = self._telemetry.counter("ares_otel_spool_items")
        for outcome in ("stored", "deduplicated", "rejected"):
            replayed.labels(signal=record.signal.name, outcome=outcome).inc(getattr(answer, outcome))
        self._telemetry.count_items("otelcol_exporter_sent_{}", record.signal, answer.stored, exporter="postgres")


def say_encoder() -> None:
    """Says which row encoder is in use, loudly where it is not the one that should be."""
    encoder = active()
    log.log(logging.INFO if encoder.expected else logging.WARNING, "%s", encoder.sentence)


def body_scanner() -> BodyScanner | None:
    """Counts the items of bodies for the receivers, where the native encoder is in use; without it they decode."""
    if active().native is None:
        return None
    from ares_otel.storage.rows.scanner import NativeScanner

    return NativeScanner()
