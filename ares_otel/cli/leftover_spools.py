"""Spools that nobody appends to any more: of workers that are not started again because there are fewer of them now, or
none. What was acknowledged into one of them is stored by whoever starts next."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ares_otel.exporters.postgres.spool_observer import TelemetrySpoolObserver
from ares_otel.model.errors import StartError
from ares_otel.model.signal import SIGNALS
from ares_otel.storage.replay import OnReplayed, Replayer
from ares_otel.storage.spool.spool import Spool, holds_requests
from ares_otel.storage.spool.workers import worker_directories
from ares_otel.storage.store import Store

LOOK_SECONDS = 1.0

log = logging.getLogger("ares_otel.spool")


class LeftoverSpools:
    """Replays them until they are empty."""

    def __init__(self, root: Path, *, workers: int, observer: TelemetrySpoolObserver, on_replayed: OnReplayed) -> None:
        """
        Args:
            root: the common directory.
            workers: how many workers have a spool of their own now: numbers up to this one are left alone.
        """
        self._root = root
        self._workers = workers
        self._observer = observer
        self._on_replayed = on_replayed
        self._open: list[tuple[Spool, Replayer]] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self, store: Store) -> None:
        """Begins to replay what is there into the store, which runs. One that cannot be opened is said, and waits."""
        try:
            directories = await asyncio.to_thread(self._find)
        except OSError as error:
            log.warning("Whether requests of former workers wait in %s cannot be seen: %s", self._root, error.strerror)
            return
        for directory in directories:
            spool = Spool(directory, limit_bytes=0, observer=self._observer)
            try:
                await asyncio.to_thread(spool.open)
            except StartError as error:
                log.warning("Requests of a former worker wait and are not stored now: %s", error.message)
                continue
            self._observer.watch(spool)
            replayer = Replayer(store, spool, self._on_replayed)
            self._open.append((spool, replayer))
            await replayer.start()
            log.info("Requests of a former worker wait in %s; they are stored now.", directory)
        if self._open:
            self._task = asyncio.create_task(self._watch(), name="leftover spools")

    async def stop(self) -> None:
        """Ends; what is not stored yet stays where it is. Safe without `start`, and twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        while self._open:
            await self._close(*self._open[0])

    def _find(self) -> list[Path]:
        return [
            path
            for number, path in worker_directories(self._root).items()
            if number > self._workers and holds_requests(path)
        ]

    async def _watch(self) -> None:
        while self._open:
            await asyncio.sleep(LOOK_SECONDS)
            for spool, replayer in list(self._open):
                if not any(spool.has(signal) for signal in SIGNALS.values()):
                    await self._close(spool, replayer)
                    log.info("All that waited in %s is stored.", spool.directory)

    async def _close(self, spool: Spool, replayer: Replayer) -> None:
        self._open.remove((spool, replayer))
        await replayer.stop()
        self._observer.forget(spool)
        await asyncio.to_thread(spool.close)
