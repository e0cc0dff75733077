"""Where requests are encoded: on the event loop what takes a moment, in threads what takes longer."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ares_otel.model.batch import Batch
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import EncodedBatch, Windows
from ares_otel.storage.rows.implementation import active
from ares_otel.storage.rows.known import KnownSeries

INLINE_BYTES = 16 * 1024
"""A request up to this size is encoded on the event loop: handing it to a thread would take longer."""
INLINE_ITEMS = 500
"""But not with more items than this: an empty one takes two bytes, and becomes a row with all that is around it."""
NATIVE_INLINE_BYTES = 512 * 1024
NATIVE_INLINE_ITEMS = 5_000
"""The same for the native encoder, which takes a few milliseconds for so much."""
NATIVE_INLINE_ENVELOPES = 1_000
"""Nor with more resources, scopes and metrics than this: each of them is hashed, and becomes objects."""


class Encoders:
    """Encodes requests for one store."""

    def __init__(self, *, threads: int = 2) -> None:
        """Args: threads: for larger requests; 0 where the event loop serves nobody else."""
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="encode") if threads else None

    async def encode(self, batch: Batch, windows: Windows, known: KnownSeries | None) -> EncodedBatch:
        """What `encode_batch` gives. Raises what it raises."""
        if self._threads is None:
            return encode_batch(batch, windows, known)
        size, items = len(batch.payload), batch.items
        if size <= INLINE_BYTES and items <= INLINE_ITEMS:
            return encode_batch(batch, windows, known)
        work = partial(encode_batch, batch, windows, known)
        native = active().native
        if (
            native is not None
            and size <= NATIVE_INLINE_BYTES
            and items <= NATIVE_INLINE_ITEMS
            and native.envelopes(batch, NATIVE_INLINE_ENVELOPES) <= NATIVE_INLINE_ENVELOPES
        ):
            made: EncodedBatch | str = native.attempt(batch, windows, known)
            if isinstance(made, EncodedBatch):
                return made
            work = partial(native.for_reference, made, batch, windows, known)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Lets running work end. Safe twice."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
