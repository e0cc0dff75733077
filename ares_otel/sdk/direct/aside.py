"""A batch that the database takes neither now nor later is set aside, where people find it."""

from __future__ import annotations

from ares_otel.model.errors import AresError
from ares_otel.sdk.direct.outbox import Parcel
from ares_otel.storage.poison import set_aside
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.store import Store
from ares_otel.storage.writer import NotTaken

TRIES = 5
"""Times that a batch is tried which the database does not take although it takes others."""


async def set_aside_parcel(store: Store, parcel: Parcel, error: BaseException) -> None:
    """Puts it into `ingest_rejected`. Raises what asyncpg raises."""
    record = SpoolRecord.of(parcel.batch, items=parcel.items)
    reason = error.message if isinstance(error, AresError) else f"{type(error).__name__}: {error}"
    state = error.sqlstate if isinstance(error, NotTaken) else None
    connection = await store.connect()
    try:
        await set_aside(
            connection, record, store.process, reason=f"Not stored in {parcel.tries} attempts: {reason}", state=state
        )
    finally:
        connection.terminate()
