"""How data points are handed on: counted, and repeated until they are safe or the next scrape is due."""

from __future__ import annotations

import asyncio

from ares_otel.model.batch import Batch, Consumer
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.occasional import Occasional
from ares_otel.receivers.prometheus.requests import Requests

TRANSPORT = "http"
_LONGEST_PAUSE = 5.0


class Delivery:
    """Hands the requests of one receiver on. A request that cannot be taken now is repeated as it is, so it is stored
    once, whatever became of the attempt before."""

    def __init__(self, context: BuildContext, consumer: Consumer) -> None:
        self._context = context
        self._own = self._consumer = consumer
        self._warnings = Occasional(context)
        self._errors = ErrorLog(context.log, context.clock, told="; it is tried again")

    def redirect(self, other: Delivery | None) -> None:
        """What is under way here ends in the pipelines of another receiver, because those of this one are about to
        stop; with None in its own again."""
        self._consumer = self._own if other is None else other._own

    async def give(self, requests: Requests, received_ns: int, until: float, *, transport: str = TRANSPORT) -> bool:
        """Whether all of it is safe.

        Args:
            until: `Clock.monotonic()` time after which it is given up.
            transport: `DERIVED` for what says nothing about whether its service is alive.
        """
        safe = True
        for request, points in requests.made:
            batch = Batch(
                METRICS,
                request.SerializeToString(),
                received_ns=received_ns,
                receiver=self._context.id,
                transport=transport,
                message=request,
                items=points,
            )
            safe = await self._send(batch, until) and safe
        requests.made.clear()
        return safe

    async def _send(self, batch: Batch, until: float) -> bool:
        context = self._context
        account = METRICS, context.id, batch.transport
        labels = {"receiver": context.id, "transport": batch.transport}
        context.telemetry.account(*account, received=batch.items)
        while True:
            try:
                answer = await self._consumer.consume(batch)
            except Rejected as error:
                context.telemetry.account(*account, rejected=batch.items)
                context.telemetry.count_items("ares_otel_receiver_rejected_{}", METRICS, batch.items, **labels)
                self._warnings.warn("the pipeline refused %d data points: %s", batch.items, error)
                return True
            except Exception as error:
                pause = min(_LONGEST_PAUSE, error.retry_after if isinstance(error, Retryable) else 1.0)
                if not isinstance(error, Retryable):
                    self._errors.unexpected(error, f"{context.id}: handing on data points")
                if context.clock.monotonic() + pause < until:
                    await asyncio.sleep(pause)
                    continue
                context.telemetry.account(*account, refused=batch.items)
                context.telemetry.count_items("otelcol_receiver_refused_{}", METRICS, batch.items, **labels)
                self._warnings.warn("a scrape with %d data points could not be stored: %s", batch.items, error)
                return False
            except BaseException:
                context.telemetry.account(*account, refused=batch.items)
                context.telemetry.count_items("otelcol_receiver_refused_{}", METRICS, batch.items, **labels)
                raise
            context.telemetry.account_answer(*account, answer)
            context.telemetry.count_items(
                "otelcol_receiver_accepted_{}", METRICS, batch.items - answer.rejected, **labels
            )
            context.telemetry.count_items("ares_otel_receiver_rejected_{}", METRICS, answer.rejected, **labels)
            if answer.rejected:
                self._warnings.warn("%d data points were refused: %s", answer.rejected, answer.reason)
            return True
