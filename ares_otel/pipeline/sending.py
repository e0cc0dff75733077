"""What surrounds every exporter: small senders nested in each other, as in the Collector's exporterhelper.

    tee:      queue ─▶ count ─▶ retry ─▶ time limit ─▶ exporter.consume
    waiting:           count ─▶ retry ─▶ time limit ─▶ exporter.consume

An exporter itself is bare. Its `consume(batch)` makes ONE attempt: it returns `Accepted` (with `rejected` when the
destination took a part), raises `Retryable` (`retry_after=0` when the destination named no delay) or `Rejected`. It
queues, repeats, times and counts nothing: the pipeline puts it into a `Sending`, which does all of that. Its config
derives from `SendingConfig` and so has the Collector's options `timeout`, `sending_queue` and `retry_on_failure`.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Awaitable, Callable

from pydantic import Field

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.pipeline.component import BuildContext, ComponentConfig, Stage
from ares_otel.pipeline.duration import Duration

WAITING_SECONDS = 5.0
"""How long a sender that named no deadline is kept waiting for repeated attempts: half of the SDKs' usual time-out."""

DRAIN_SECONDS = 5.0
"""How long `stop` lets a queue run empty before the rest is given up (and counted)."""


class QueueConfig(ComponentConfig):
    """`sending_queue`: where batches wait for an exporter that runs behind the commit (a tee)."""

    enabled: bool = Field(
        default=True,
        description="Whether a tee has a queue. Without one, the answer waits for the attempt, whose failure is"
        " counted and does not change the answer.",
    )
    num_consumers: int = Field(default=10, ge=1, le=1000, description="Batches of the queue that are sent at once.")
    queue_size: int = Field(
        default=1000, ge=1, le=1_000_000, description="Batches that wait at most; one more is dropped and counted."
    )
    max_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        description="Request bytes that wait at most, so that a dead destination cannot fill the memory. Ares's own"
        " option; the Collector has none of this name.",
    )


class RetryConfig(ComponentConfig):
    """`retry_on_failure`: repeated attempts with growing, jittered pauses."""

    enabled: bool = Field(default=True, description="Whether a failed attempt is repeated.")
    initial_interval: Duration = Field(default=5.0, description="Pause before the second attempt.")
    randomization_factor: float = Field(
        default=0.5, ge=0, le=1, description="A pause is changed by up to this share, up or down."
    )
    multiplier: float = Field(default=1.5, ge=1, le=100, description="Growth of the pause with every attempt.")
    max_interval: Duration = Field(default=30.0, description="Longest pause between two attempts.")
    max_elapsed_time: Duration = Field(
        default=300.0, description="Time after which a batch is given up; 0 repeats for ever."
    )


class SendingConfig(ComponentConfig):
    """Base of the configuration of an exporter that sends to a destination elsewhere."""

    timeout: Duration = Field(default=5.0, description="Time limit of one attempt; 0 for none.")
    sending_queue: QueueConfig = Field(
        default=QueueConfig(), description="The queue of a tee: an exporter next to a durable one (`postgres`)."
    )
    retry_on_failure: RetryConfig = Field(
        default=RetryConfig(),
        description="Repeated attempts; while a sender waits for the answer they end at its deadline, or after"
        f" {WAITING_SECONDS:g} s when it named none.",
    )


_PLAIN = SendingConfig(timeout=0.0, retry_on_failure=RetryConfig(enabled=False))
"""For exporters without these options (debug): one attempt without a limit, the default queue as a tee."""


class Sending:
    """An exporter with everything around it; a `Stage`, shared by all pipelines that name the exporter."""

    def __init__(self, context: BuildContext, config: ComponentConfig, exporter: Stage) -> None:
        self._context = context
        self._config = config if isinstance(config, SendingConfig) else _PLAIN
        self._exporter = exporter
        self._stopping = asyncio.Event()
        self._queue: SendingQueue | None = None

    async def start(self) -> None:
        await self._exporter.start()

    async def stop(self) -> None:
        """Sends what waits in the queue, each batch with one attempt more, for `DRAIN_SECONDS` at most; what is left
        then is counted as failed. The exporter stops last."""
        self._stopping.set()
        try:
            if self._queue is not None:
                await self._queue.stop()
        finally:
            await self._exporter.stop()

    async def consume(self, batch: Batch) -> Accepted:
        """Sends while the sender waits for the answer: no queue in between, the exporter's answer is the answer.

        Raises:
            Retryable, Rejected: the exporter's last answer, after the repeated attempts that the time allows.
        """
        return await self._send(batch, self._waiting_deadline(batch))

    def open_queue(self) -> None:
        """Makes the queue for `feed`; called when a pipeline has this exporter as a tee. Safe to call again."""
        if self._queue is None and self._config.sending_queue.enabled:
            self._queue = SendingQueue(self._context, self._config.sending_queue, self._send_and_count)

    async def feed(self, batch: Batch) -> None:
        """Takes a batch behind the commit of another exporter: into the queue, at once. With `sending_queue.enabled:
        false` it waits for the attempt. Never raises because of the destination."""
        if self._queue is not None:
            self._queue.offer(batch)
        else:
            await self._send_and_count(batch, self._waiting_deadline(batch))

    def _waiting_deadline(self, batch: Batch) -> float:
        if batch.deadline is not None:
            return batch.deadline
        return self._context.clock.monotonic() + WAITING_SECONDS

    async def _send_and_count(self, batch: Batch, deadline: float | None) -> None:
        """For a tee: the failure is counted and said in the log; it goes nowhere else."""
        try:
            answer = await self._send(batch, deadline)
        except Exception as error:
            self._context.log.warning("%s lost %d %s: %s", self._context.id, batch.items, batch.signal.items, error)
            return
        if answer.rejected:
            self._context.log.warning(
                "%s: the destination rejected %d %s: %s",
                self._context.id,
                answer.rejected,
                batch.signal.items,
                answer.reason,
            )

    async def _send(self, batch: Batch, deadline: float | None) -> Accepted:
        """count ─▶ retry ─▶ time limit. `otelcol_exporter_send_failed_*` counts what was given up, once."""
        telemetry, labels = self._context.telemetry, {"exporter": self._context.id}
        try:
            answer = await self._retry(batch, deadline)
        except BaseException:  # also cancellation: nobody will send it after this
            telemetry.count_items("otelcol_exporter_send_failed_{}", batch.signal, _items(batch), **labels)
            raise
        taken = answer.stored + answer.deduplicated
        telemetry.count_items("otelcol_exporter_sent_{}", batch.signal, taken, **labels)
        telemetry.count_items("otelcol_exporter_send_failed_{}", batch.signal, answer.rejected, **labels)
        return answer

    async def _retry(self, batch: Batch, deadline: float | None) -> Accepted:
        config, clock = self._config.retry_on_failure, self._context.clock
        give_up = clock.monotonic() + config.max_elapsed_time if config.max_elapsed_time else float("inf")
        if deadline is not None:
            give_up = min(give_up, deadline)
        pause = config.initial_interval
        logged = False
        while True:
            try:
                return await self._attempt(batch, deadline)
            except Rejected:
                raise
            except Exception as error:
                if not isinstance(error, Retryable) and not logged:
                    self._context.log.exception("%s failed in a way it should not", self._context.id)
                    logged = True
                spread = config.randomization_factor * pause
                delay = random.uniform(pause - spread, pause + spread)
                if isinstance(error, Retryable):
                    delay = max(delay, error.retry_after)
                if not config.enabled or self._stopping.is_set() or clock.monotonic() + delay > give_up:
                    if isinstance(error, Retryable):
                        raise
                    raise Retryable(f"{self._context.id} failed: {type(error).__name__}.") from error
            pause = min(pause * config.multiplier, config.max_interval)
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        """Waits, or until `stop` begins: then one last attempt follows at once."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _attempt(self, batch: Batch, deadline: float | None) -> Accepted:
        limit = self._config.timeout or None
        if deadline is not None:
            left = max(deadline - self._context.clock.monotonic(), 0.0)
            limit = left if limit is None else min(limit, left)
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await self._exporter.consume(batch)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise Retryable(f"{self._context.id} got no answer from its destination in {limit:g} s.") from error


class SendingQueue:
    """A bounded queue in memory with up to `num_consumers` workers, which live only while there is work."""

    def __init__(
        self, context: BuildContext, config: QueueConfig, send: Callable[[Batch, float | None], Awaitable[None]]
    ) -> None:
        self._context = context
        self._config = config
        self._send = send
        self._waiting: deque[Batch] = deque()
        self._waiting_bytes = 0
        self._active = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._size = context.telemetry.gauge("otelcol_exporter_queue_size").labels(exporter=context.id)
        self._capacity = context.telemetry.gauge("otelcol_exporter_queue_capacity").labels(exporter=context.id)
        # Added and taken away, not set: while a pipeline is exchanged, two queues may have the same id.
        self._capacity.inc(config.queue_size)

    def offer(self, batch: Batch) -> None:
        """Takes the batch, or drops and counts it when the queue is full. Never waits."""
        full = (
            len(self._waiting) >= self._config.queue_size
            or self._waiting_bytes + len(batch.payload) > self._config.max_bytes
        )
        if full or self._stopped:
            self._context.telemetry.count_items(
                "otelcol_exporter_enqueue_failed_{}", batch.signal, _items(batch), exporter=self._context.id
            )
            return
        self._waiting.append(batch.undecoded())
        self._waiting_bytes += len(batch.payload)
        self._size.inc()
        if self._active < self._config.num_consumers:
            self._active += 1
            # A context of its own: the batch must not carry the trace context of the request that brought it.
            task = asyncio.create_task(self._work(), context=contextvars.Context())
            self._workers.add(task)
            task.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._send(self._take(), None)
        finally:
            self._active -= 1

    def _take(self) -> Batch:
        batch = self._waiting.popleft()
        self._waiting_bytes -= len(batch.payload)
        self._size.dec()
        return batch

    async def stop(self) -> None:
        """Runs empty for `DRAIN_SECONDS` at most, then gives up what is left and counts it as failed."""
        if self._stopped:
            return
        self._stopped = True
        self._capacity.dec(self._config.queue_size)
        if self._workers:
            await asyncio.wait(set(self._workers), timeout=DRAIN_SECONDS)
        workers = set(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        lost = 0
        while self._waiting:
            batch = self._take()
            lost += 1
            self._context.telemetry.count_items(
                "otelcol_exporter_send_failed_{}", batch.signal, _items(batch), exporter=self._context.id
            )
        if lost:
            self._context.log.warning("%s stopped with %d batches unsent", self._context.id, lost)


def _items(batch: Batch) -> int:
    try:
        return batch.items
    except Rejected:  # not decodable: the destination will say so; there is nothing to count
        return 0
