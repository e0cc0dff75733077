"""How a connector hands metrics on: counted, and repeated until they are safe."""

from __future__ import annotations

from typing import Any

from ares_otel.model.batch import DERIVED, Batch, Consumer
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.occasional import Occasional


class Handover:
    """Hands requests to metrics pipelines. What they cannot take now is kept, as it is and with its key, and goes first
    the next time: so it is stored once, whatever became of the attempt before."""

    def __init__(self, context: BuildContext, consumer: Consumer) -> None:
        self._context = context
        self._consumer = consumer
        self._waiting: Batch | None = None
        self._warnings = Occasional(context)

    @property
    def waiting(self) -> int:
        """Data points that wait for another attempt."""
        return self._waiting.items if self._waiting else 0

    async def again(self) -> bool:
        """Tries what waits. False when it has to wait on."""
        return self._waiting is None or await self._send(self._waiting)

    async def give(self, request: Any, now_ns: int) -> bool:
        """Hands a request on. False when it has to wait; then give nothing more until `again` says True."""
        assert self._waiting is None
        batch = Batch(
            METRICS,
            request.SerializeToString(),
            received_ns=now_ns,
            receiver=self._context.id,
            transport=DERIVED,
            message=request,
        )
        return await self._send(batch)

    async def _send(self, batch: Batch) -> bool:
        self._waiting = batch
        context, account = self._context, (METRICS, self._context.id, DERIVED)
        telemetry = context.telemetry
        telemetry.account(*account, received=batch.items)
        try:
            answer = await self._consumer.consume(batch)
        except Rejected as error:
            telemetry.account(*account, rejected=batch.items)
            self._warnings.warn("a metrics pipeline refused %d data points: %s", batch.items, error)
        except Exception as error:
            telemetry.account(*account, refused=batch.items)
            what = error if isinstance(error, Retryable) else f"{type(error).__name__}: {error}"
            self._warnings.warn("a metrics pipeline takes no data points now; they wait: %s", what)
            return False
        except BaseException:
            telemetry.account(*account, refused=batch.items)
            raise
        else:
            telemetry.account_answer(*account, answer)
            if answer.rejected:
                self._warnings.warn("%d data points were refused: %s", answer.rejected, answer.reason)
        self._waiting = None
        return True
