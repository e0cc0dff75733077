"""The workers of one Ares: started together, started again one by one, reloaded as one, counted as one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ares_otel.cli.workers.channel import ChannelClosed
from ares_otel.cli.workers.process import WorkerProcess
from ares_otel.cli.workers.setup import SetupOf
from ares_otel.eventbus.live import TOPICS
from ares_otel.model.bus import EventBus
from ares_otel.model.errors import StartError
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.listen import BindPolicy, check_bind
from ares_otel.pipeline.shared_ports import Endpoint, Reservations
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.pipeline.worker_metrics import MergedMetrics, Retired, gauge_sum
from ares_otel.storage.rows.encoded import ServiceSeen

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds until a worker that ended is started again; twice as long each time that it ends soon after."""
STEADY_SECONDS = 60.0
"""Of running, after which the delays start anew."""
START_SECONDS = 120.0
"""After which a worker that is started again and does not get ready is given up, and the next one tried."""
LOOK_SECONDS = 5.0
"""Between two looks at the figures of all workers: what one that is killed had counted is known from then."""
ANSWER_SECONDS = 2.0
"""A worker that takes longer to tell its figures, or whether it is ready, is taken to hang."""
RELOAD_SECONDS = 30.0
"""On top of the grace, after which a worker that does not answer is taken to hang."""
LISTENERS_SECONDS = 0.25
"""Until workers hear that somebody listens to the live tail."""

log = logging.getLogger("ares_otel.workers")


class Workers:
    """N ingest processes on the same ports."""

    def __init__(
        self,
        count: int,
        telemetry: Telemetry,
        *,
        policy: BindPolicy,
        reload_seconds: float = RELOAD_SECONDS,
        on_seen: Callable[[Iterable[ServiceSeen]], None] = lambda services: None,
    ) -> None:
        """
        Args:
            policy: which addresses may be listened on.
            reload_seconds: after which a worker that does not answer a reload is taken to hang.
            on_seen: told who sent what a worker has stored.
        """
        self.count = count
        self.on_seen = on_seen
        self.bus: EventBus | None = None
        """Where the live tail goes, once it is there."""
        self._telemetry = telemetry
        self._policy = policy
        self._reload_seconds = reload_seconds
        self._ports = Reservations()
        self._retired = Retired()
        self._workers: list[WorkerProcess] = []
        self._setup_of: SetupOf | None = None
        self._content = ""
        self._lock = asyncio.Lock()
        """Held while the configuration of the workers changes, and while one of them starts: it starts with the one
        before or with the new one, and is told nothing in between."""
        self._starting: WorkerProcess | None = None
        self._gave_way: WorkerProcess | None = None
        """The one whose start was broken off for a reload, which must not wait for it."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        gauge = telemetry.gauge("ares_otel_workers")
        gauge.labels(state="wanted").set(count)
        gauge.labels(state="ready").set_function(lambda: sum(worker.ready for worker in self._workers))

    def reserve(self, config: PipelineConfig) -> None:
        """Takes the ports that the receivers of a configuration need.

        Raises:
            StartError: one is taken or must not be used; a line that names the setting.
        """
        endpoints = endpoints_of(config)
        for one in endpoints:
            check_bind(one.host, self._policy, one.setting)
        self._ports.reserve(endpoints)

    async def spawn(self) -> None:
        """Starts the processes, which import what they need while the supervisor prepares the rest. Raises StartError.
        After it, `kill` or `stop` has to be called."""
        self._workers = [self._new(number) for number in range(1, self.count + 1)]
        for worker in self._workers:
            await worker.spawn()

    async def start(self, content: str, setup_of: SetupOf) -> None:
        """Makes all of them listen; whoever ends from now on is started again.

        Raises:
            StartError: the first reason why one of them cannot.
        """
        self._content, self._setup_of = content, setup_of
        results = await asyncio.gather(*(self._start(worker) for worker in self._workers), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        self._ports.settle()
        for worker in self._workers:
            self._run(self._keep(worker), f"worker {worker.number}")
        self._run(self._look(), "look at workers")
        self._run(self._tell_listeners(), "listeners of the tail")

    async def replace(self, content: str, config: PipelineConfig) -> None:
        """Makes another configuration run in all of them, or in none.

        Raises:
            StartError: it does not start. All workers run the one before.
        """
        if self._starting is not None:
            self._gave_way = self._starting
            self._starting.kill()
        async with self._lock:
            self.reserve(config)
            changed: list[WorkerProcess] = []
            try:
                for worker in [one for one in self._workers if one.ready]:
                    await self._reload(worker, content)
                    changed.append(worker)
            except BaseException:
                self._ports.undo()
                for worker in changed:
                    await self._go_back(worker)
                raise
            self._content = content
            self._ports.settle()

    async def stop(self) -> None:
        """Tells all of them to finish what they accepted, and waits for that. Cancelled, it ends them at once."""
        self._stopping = True
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            running = [worker for worker in self._workers if worker.pid]
            for worker in running:
                worker.channel.note("stop")
            await asyncio.gather(*(worker.wait() for worker in running))
        finally:
            self.kill()

    def hurry(self) -> None:
        """Somebody is in a hurry: requests in work are told to come back."""
        for worker in self._workers:
            worker.channel.note("hurry")

    def kill(self) -> None:
        """SIGKILL to those that still run, and the ports are given up. Safe at any time."""
        self._stopping = True
        for worker in self._workers:
            worker.kill()
        self._ports.close()

    @property
    def doors(self) -> Mapping[str, str]:
        """Name → address of what the workers listen on, as their receivers would name it."""
        return self._ports.doors

    @property
    def inner(self) -> frozenset[str]:
        """Those of `doors` that only this process asks."""
        return self._ports.inner

    async def metrics(self) -> MergedMetrics:
        """What this process and all workers have counted. Of a worker that hangs: what it had at the last look."""
        await asyncio.gather(*(worker.look(ANSWER_SECONDS) for worker in self._workers if worker.ready))
        figures = [worker.figures for worker in self._workers]
        return MergedMetrics(self._telemetry.registry, [*figures, self._retired.snapshot])

    async def reasons_not_ready(self) -> list[str]:
        """Why one of them cannot serve now, as sentences."""
        asked = await asyncio.gather(*(worker.reasons_not_ready(ANSWER_SECONDS) for worker in self._workers))
        return [reason for reasons in asked for reason in reasons]

    @property
    def queue_bytes(self) -> float:
        """Row bytes that waited for a connection at the last look."""
        return sum(gauge_sum(worker.figures, "ares_otel_writer_queue_bytes") for worker in self._workers)

    def _new(self, number: int) -> WorkerProcess:
        return WorkerProcess(number, {"seen": self._note_seen, "event": self._note_event})

    async def _start(self, worker: WorkerProcess) -> None:
        assert self._setup_of is not None
        setup = self._setup_of(worker.number, self._content, self._ports.ports)
        await worker.start(setup.model_dump(mode="json"))

    async def _keep(self, worker: WorkerProcess) -> None:
        """Waits for the end of one, and starts the next one with its number, for ever."""
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while True:
            since = loop.time()
            pid, ending = worker.pid, await worker.wait()
            self._retired.add(worker.figures)
            worker.figures = []
            self._telemetry.counter("ares_otel_worker_restarts").inc()
            if loop.time() - since >= STEADY_SECONDS:
                delay = FIRST_DELAY
            log.warning(
                "Worker %d (process %d) ended %s; starting it again in %g s.", worker.number, pid, ending, delay
            )
            worker, delay = await self._again(worker.number, delay)
            log.info("Worker %d runs again (process %d).", worker.number, worker.pid)

    async def _again(self, number: int, delay: float) -> tuple[WorkerProcess, float]:
        """Tries until it succeeds; gives the delay for the next time too. A reason is said once."""
        said = ""
        while True:
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)
            worker = self._new(number)
            try:
                await worker.spawn()
                async with self._lock, asyncio.timeout(START_SECONDS):
                    self._workers[number - 1] = self._starting = worker
                    try:
                        await self._start(worker)
                    finally:
                        self._starting = None
            except (StartError, TimeoutError) as error:
                worker.kill()
                if worker is not self._gave_way and str(error) != said:
                    said = str(error) or f"it was not ready within {START_SECONDS:g} s."
                    log.error("Worker %d cannot be started again yet: %s", number, said)
                continue
            except BaseException:
                worker.kill()
                raise
            return worker, delay

    async def _reload(self, worker: WorkerProcess, content: str) -> None:
        """Raises StartError when the worker stays with what it has. One that is gone is started again anyway."""
        try:
            async with asyncio.timeout(self._reload_seconds):
                await worker.channel.call("reload", content=content, ports=dict(self._ports.ports))
        except StartError as error:
            raise StartError(f"{error.message} (worker {worker.number})") from None
        except ChannelClosed:
            log.warning("Worker %d ended while the configuration was exchanged.", worker.number)
        except TimeoutError:
            log.error("Worker %d did not answer; it is ended, and started again.", worker.number)
            worker.kill()

    async def _go_back(self, worker: WorkerProcess) -> None:
        try:
            await self._reload(worker, self._content)
        except StartError as error:
            log.error("Back to the configuration before: %s It is ended, and started again with that.", error.message)
            worker.kill()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.gather(*(worker.look(ANSWER_SECONDS) for worker in self._workers if worker.ready))

    async def _tell_listeners(self) -> None:
        """Keeps the workers informed of what somebody listens to, so that they show nothing to nobody."""
        told: dict[WorkerProcess, list[str]] = {}
        while True:
            bus = self.bus
            wanted = [topic for topic in TOPICS if bus is not None and bus.wanted_by_anyone(topic)]
            told = {worker: told.get(worker, []) for worker in self._workers}
            for worker, before in told.items():
                if worker.ready and wanted != before and worker.channel.note("wanted", topics=wanted):
                    told[worker] = wanted
            await asyncio.sleep(LISTENERS_SECONDS)

    def _note_seen(self, services: list[list[str]]) -> None:
        self.on_seen(ServiceSeen(*service) for service in services)

    def _note_event(self, topic: str, data: Any) -> None:
        if self.bus is not None and topic in TOPICS:
            self._run(self._publish(topic, data), "event of a worker")

    async def _publish(self, topic: str, data: Any) -> None:
        assert self.bus is not None
        await self.bus.publish(topic, data)

    def _run(self, work: Any, name: str) -> None:
        if self._stopping:
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("The supervisor's work %r failed.", name, exc_info=error)


def endpoints_of(config: PipelineConfig) -> list[Endpoint]:
    """Where the receivers of a configuration listen."""
    return [endpoint for id, spec in config.receivers.items() for endpoint in spec.config.endpoints(id)]
