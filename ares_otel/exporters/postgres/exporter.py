"""The `postgres` exporter: hands batches to the store and counts what became of them."""

from __future__ import annotations

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.signal import LOGS, METRICS, TRACES
from ares_otel.pipeline.component import BuildContext, ComponentConfig, ExporterFactory
from ares_otel.storage.store import Store


class PostgresConfig(ComponentConfig):
    """No options: the database is the one that Ares was started with (`--database-url`)."""


class PostgresExporter:
    """Stores batches in the database of the process. The store's life is not the exporter's: it outlives a replaced
    pipeline, and `stop` only has to wait for nothing, because what `consume` answered is safe."""

    def __init__(self, context: BuildContext) -> None:
        self._id = context.id
        self._telemetry = context.telemetry
        self._store = context.service(Store)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def consume(self, batch: Batch) -> Accepted:
        try:
            accepted = await self._store.consume(batch)
        except Exception:
            # Counting needs the decoded message; a payload that cannot be decoded has no items to count.
            self._telemetry.count_items(
                "otelcol_exporter_send_failed_{}", batch.signal, _items(batch), exporter=self._id
            )
            raise
        self._telemetry.count_items("otelcol_exporter_sent_{}", batch.signal, accepted.stored, exporter=self._id)
        return accepted


def _items(batch: Batch) -> int:
    try:
        return batch.items
    except Exception:
        return 0


FACTORY = ExporterFactory(
    type="postgres",
    config=PostgresConfig,
    build=lambda context, config: PostgresExporter(context),
    signals=frozenset({TRACES, LOGS, METRICS}),
    durable=True,
)
