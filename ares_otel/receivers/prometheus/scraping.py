"""One target's life: a scrape an interval, and what is told of it.

Source: Prometheus, "Automatically generated labels and time series" and "Staleness".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ares_otel.model.batch import DERIVED
from ares_otel.model.errors import Overloaded, TooLarge
from ares_otel.pipeline.admission import Reservation
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.occasional import Occasional
from ares_otel.receivers.prometheus.assembling import Assembled, Assembler, end_all, report
from ares_otel.receivers.prometheus.config import ScrapeConfig
from ares_otel.receivers.prometheus.delivery import TRANSPORT, Delivery
from ares_otel.receivers.prometheus.estimate import protobuf_memory, text_memory
from ares_otel.receivers.prometheus.fetch import Fetched, Fetcher, ScrapeFailed
from ares_otel.receivers.prometheus.labelling import Labelling
from ares_otel.receivers.prometheus.page import Known, Page, Pairs, WrongPage
from ares_otel.receivers.prometheus.protobuf_page import read_protobuf
from ares_otel.receivers.prometheus.requests import Requests
from ares_otel.receivers.prometheus.streams import TargetState
from ares_otel.receivers.prometheus.target import Target
from ares_otel.receivers.prometheus.text_page import read_text
from ares_otel.receivers.serving.workers import Workers

REPORTS = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
_TOLERANCE = 0.01
_MOST_TOLERANCE_NS = 20_000_000
_READ_INLINE_BYTES = 64 * 1024
LAST_SECONDS = 2.0
"""How long the ends of a target that is gone may wait for the database."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the targets of a scrape configuration share."""

    config: ScrapeConfig
    external: Pairs
    fetcher: Fetcher
    delivery: Delivery
    places: asyncio.Semaphore
    """For scrapes that fetch."""
    workers: Workers
    context: BuildContext
    warnings: Occasional
    """Of scrapes that failed."""
    remarks: Occasional
    """About what was scraped."""
    errors: ErrorLog

    def labelling(self, target: Target) -> Labelling:
        """How the series of a target are called."""
        config = self.config
        return Labelling(
            target.labels,
            self.external,
            config.honor_labels,
            config.metric_relabel_configs,
            config.label_limit,
            config.label_name_length_limit,
            config.label_value_length_limit,
        )


class Scraping:
    """Scrapes one target until it is stopped."""

    def __init__(self, target: Target, job: Job, state: TargetState | None = None) -> None:
        """
        Args:
            state: of the same target before the configuration changed.
        """
        self.target = target
        self.state = state or TargetState()
        self._use(job)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"scrapes {self.target.job_name}")

    @property
    def job(self) -> Job:
        return self._job

    def use(self, job: Job) -> None:
        """Goes on for another receiver whose configuration of this target is the same, with its next scrape."""
        self._use(job)

    def _use(self, job: Job) -> None:
        self._job = job
        self._labelling = job.labelling(self.target)

    async def stop(self) -> TargetState:
        """Ends, and gives up a scrape under way. What is remembered of the target."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        return self.state

    async def leave(self) -> None:
        """Ends, and says so of all series: the target is not scraped any more."""
        await self.stop()
        clock, state = self._job.context.clock, self.state
        state.round += 1
        requests = Requests()
        now_ns = clock.time_ns()
        gone = end_all(state, now_ns, requests)
        if gone and await self._job.delivery.give(
            requests, now_ns, clock.monotonic() + LAST_SECONDS, transport=DERIVED
        ):
            state.stored(gone)

    async def _run(self) -> None:
        """Each interval at the target's own moment, which is the same after a restart. Moments that a long scrape runs
        over are left out."""
        clock = self._job.context.clock
        interval_ns = round(self.target.interval * 1e9)
        offset_ns = self.target.hash % interval_ns
        now_ns = clock.time_ns()
        due_ns = now_ns + (offset_ns - now_ns) % interval_ns
        while True:
            if (left_ns := due_ns - clock.time_ns()) > 0:
                await asyncio.sleep(left_ns / 1e9)
            try:
                await self.scrape(due_ns, until=clock.monotonic() + self.target.interval)
            except Exception as error:
                self._job.errors.unexpected(error, f"{self._job.context.id}: a scrape")
            due_ns += interval_ns
            now_ns = clock.time_ns()
            if not now_ns <= due_ns <= now_ns + interval_ns:  # late, or the clock was set
                due_ns = now_ns + (offset_ns - now_ns) % interval_ns

    async def scrape(self, due_ns: int, until: float) -> None:
        """One scrape.

        Args:
            due_ns: when it was meant to be, nanoseconds since 1970.
            until: `Clock.monotonic()` time until which its data points may wait for the database.
        """
        job, clock = self._job, self._job.context.clock
        async with job.places:
            time_ns = self._moment(clock.time_ns(), due_ns)
            started = clock.monotonic()
            try:
                with job.context.admission.reservation() as reservation:
                    await self._fetched(reservation, time_ns, started, until)
                return
            except (Overloaded, TooLarge) as error:
                if isinstance(error, Overloaded):  # says nothing about the target
                    self._count("skipped")
                    job.remarks.warn("a scrape was left out: %s", error)
                    return
                reason = str(error)
            except (ScrapeFailed, WrongPage) as error:
                reason = str(error)
        self._count("failed")
        job.warnings.warn("the scrape of %s failed: %s", self._shown(), reason)
        await self._failed(time_ns, clock.monotonic() - started, until)

    async def _fetched(self, reservation: Reservation, time_ns: int, started: float, until: float) -> None:
        job, state = self._job, self.state
        fetched = await job.fetcher.fetch(self.target, reservation)
        size, run = len(fetched.body), job.workers.run
        memory = text_memory if fetched.protocol != "PrometheusProto" else protobuf_memory
        reservation.grow(await run(size, lambda: memory(fetched.body, len(state.known))))
        page, assembled = await run(size, lambda: self._assembled(fetched, time_ns), inline_bytes=_READ_INLINE_BYTES)
        duration = job.context.clock.monotonic() - started
        values = (1.0, duration, float(assembled.scraped), float(assembled.kept), float(assembled.added))
        report(state, self._labelling, zip(REPORTS, values, strict=True), time_ns, assembled.requests)
        gone = end_all(state, time_ns, assembled.requests)
        self._warn(assembled)
        if await self._job.delivery.give(assembled.requests, time_ns, until, transport=TRANSPORT):
            state.stored(gone)
        else:
            state.lost()
        state.tidy(page.families, assembled.scraped)
        self._count("ok")

    def _assembled(self, fetched: Fetched, time_ns: int) -> tuple[Page, Assembled]:
        """In a thread where the page is large: nothing else works on the state meanwhile."""
        config, state = self._job.config, self.state
        page = _read(fetched, state.known, config)
        assembler = Assembler(state, self._labelling, page, time_ns)
        state.round += 1
        assembled = assembler.assemble(
            honor_timestamps=config.honor_timestamps,
            track_timestamps=config.track_timestamps_staleness,
            sample_limit=config.sample_limit,
        )
        return page, assembled

    async def _failed(self, time_ns: int, duration: float, until: float) -> None:
        state = self.state
        state.round += 1
        requests = Requests()
        values = (0.0, duration, 0.0, 0.0, 0.0)
        report(state, self._labelling, zip(REPORTS, values, strict=True), time_ns, requests)
        gone = end_all(state, time_ns, requests)
        state.relabelled()  # a page that is always wrong must not leave ever more series behind
        if await self._job.delivery.give(requests, time_ns, until, transport=DERIVED):
            state.stored(gone)
        else:
            state.lost()

    def _moment(self, now_ns: int, due_ns: int) -> int:
        """The time of the samples: the planned one where it is nearly that, which makes even distances."""
        tolerance = min(_MOST_TOLERANCE_NS, round(self.target.interval * 1e9 * _TOLERANCE))
        return due_ns if abs(now_ns - due_ns) <= tolerance else now_ns

    def _shown(self) -> str:
        labels = dict(self.target.labels)
        shown = f"{labels.get('job', '')[:100]}/{labels.get('instance', '')[:100]}"
        return "".join(character if character.isprintable() else "?" for character in shown)

    def _warn(self, assembled: Assembled) -> None:
        warnings = self._job.remarks
        if assembled.duplicates:
            warnings.warn("%s tells %d series more than once; the first counts", self._shown(), assembled.duplicates)
        if assembled.wrong:
            self._count("wrong_histogram", assembled.wrong)
            warnings.warn(
                "%s has %d native histograms that cannot be stored: %s",
                self._shown(),
                assembled.wrong,
                assembled.reason,
            )

    def _count(self, outcome: str, amount: int = 1) -> None:
        context = self._job.context
        context.telemetry.counter("ares_otel_scrapes").labels(receiver=context.id, outcome=outcome).inc(amount)


def _read(fetched: Fetched, known: Known, config: ScrapeConfig) -> Page:
    if fetched.protocol == "PrometheusProto":
        native, classic = config.scrape_native_histograms, config.always_scrape_classic_histograms
        return read_protobuf(fetched.body, known, native=native, classic=classic)
    return read_text(fetched.body, known, openmetrics=fetched.protocol.startswith("OpenMetrics"))
