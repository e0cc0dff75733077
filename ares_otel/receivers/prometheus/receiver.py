"""The receiver: which targets there are, and who scrapes them when the configuration changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from ares_otel.model.batch import Consumer
from ares_otel.model.errors import Retryable, StartError
from ares_otel.model.signal import METRICS, Signal
from ares_otel.pipeline.component import BuildContext, ReceiverFactory
from ares_otel.pipeline.error_log import ErrorLog
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.occasional import Occasional
from ares_otel.receivers.prometheus.config import (
    PrometheusReceiverConfig,
    RegistrySdConfig,
    ScrapeConfig,
    ScrapingConfig,
)
from ares_otel.receivers.prometheus.delivery import Delivery
from ares_otel.receivers.prometheus.discovery import TargetSource
from ares_otel.receivers.prometheus.fetch import Fetcher
from ares_otel.receivers.prometheus.page import Pairs
from ares_otel.receivers.prometheus.scraping import Job, Scraping
from ares_otel.receivers.prometheus.target import Target, WrongTarget, targets_of
from ares_otel.receivers.serving.workers import Workers

_Key = tuple[str, str, Pairs]
_ONLY_TARGETS = ("static_configs", "ares_registry_sd_configs", "relabel_configs", "target_limit")
"""Options that say which targets there are, and nothing about how they are scraped."""
_LEAVING = 200
"""Targets whose end is stored at once."""


class Scrapers:
    """The receivers of this process that scrape, by id. A changed configuration starts a new one before the old one
    stops, and the new one finds here what to go on with."""

    def __init__(self) -> None:
        self.running: dict[str, PrometheusReceiver] = {}


class PrometheusReceiver:
    """A component that scrapes targets."""

    def __init__(
        self, context: BuildContext, config: PrometheusReceiverConfig, consumers: Mapping[Signal, Consumer]
    ) -> None:
        self._context = context
        self._config = config
        self._scrapers: Scrapers = context.services.get(Scrapers) or Scrapers()
        self._identity: Identity = context.services.get(Identity, Identity())
        self._grace: Grace | None = context.services.get(Grace)
        self._source: TargetSource | None = context.services.get(TargetSource)
        self._delivery = Delivery(context, consumers[METRICS])
        self._workers = Workers()
        self._errors = ErrorLog(context.log, context.clock, told="")
        self._places = asyncio.Semaphore(config.max_concurrent_scrapes)
        self._jobs: dict[str, Job] = {}
        self._static: dict[str, list[Target]] = {}
        self._found: dict[str, list[Target]] = {}
        self._scrapings: dict[_Key, Scraping] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._before: PrometheusReceiver | None = None
        self._successor: PrometheusReceiver | None = None
        """Who has taken the targets over, while this one has not stopped yet."""
        self.stopped = False

    @property
    def targets(self) -> Sequence[Target]:
        """What this process scrapes now."""
        return [one.target for one in self._scrapings.values()]

    async def start(self) -> None:
        """Begins to scrape. Targets that a receiver of the same id scraped are gone on with.

        Raises:
            StartError: a rule makes a target that cannot be asked, or a TLS file cannot be used.
        """
        scraping = self._config.config
        for job in scraping.scrape_configs:
            try:
                self._static[job.job_name] = self._limited(job, targets_of(scraping, job))
            except WrongTarget as error:
                raise StartError(f"{self._context.id}: the job {job.job_name!r}: {error}.") from None
            self._jobs[job.job_name] = self._job(job)
        before = self._scrapers.running.get(self._context.id)
        self._before = before if before is not None and not before.stopped else None
        if self._before is not None:
            self._before._successor = self
            self._before._delivery.redirect(self._delivery)
            asking = {job.job_name for job in scraping.scrape_configs if job.ares_registry_sd_configs}
            self._found = {name: found for name, found in self._before._found.items() if name in asking}
        self._scrapers.running[self._context.id] = self
        await self._sync(self._before)
        for job in scraping.scrape_configs:
            for discovery in job.ares_registry_sd_configs:
                self._tasks.append(asyncio.create_task(self._discover(job, discovery), name="finds targets"))

    async def stop(self) -> None:
        """Ends all scrapes. Where Ares goes on without this receiver, the series of its targets end; where Ares
        stops, they do not: it may be back soon. Safe without `start`, and twice."""
        if self.stopped:
            return
        self.stopped = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        before, self._before = self._before, None
        if before is not None and not before.stopped:  # this one was only tried: the one before goes on
            self._scrapers.running[self._context.id] = before
            before._successor = None
            before._delivery.redirect(None)
            self._delivery.redirect(before._delivery)
            self._successor = before
            await before._sync(self)
        elif self._scrapers.running.get(self._context.id) is self:
            del self._scrapers.running[self._context.id]
        leaving, self._scrapings = list(self._scrapings.values()), {}
        if self._grace is not None and self._grace.begun:
            await asyncio.gather(*(one.stop() for one in leaving))
        else:
            await _leave(leaving)
        if self._successor is None:  # else a scrape that was taken over may be under way
            for job in self._jobs.values():
                await job.fetcher.close()
            self._workers.close()
        self._show()

    async def _sync(self, giver: PrometheusReceiver | None = None) -> None:
        """Scrapes what is wanted now, and nothing else.

        Args:
            giver: a receiver that may scrape some of it already.
        """
        if self._successor is not None:
            return
        wanted: dict[_Key, tuple[Target, Job]] = {}
        for name, job in self._jobs.items():
            for target in [*self._static[name], *self._found.get(name, ())]:
                if self._mine(target):
                    wanted[_key(target)] = target, job
        leaving = [self._scrapings.pop(key) for key in list(self._scrapings) if key not in wanted]
        for key, (target, job) in wanted.items():
            if key not in self._scrapings:
                self._scrapings[key] = await self._taken(giver, key, target, job)
        self._show()
        await _leave(leaving)

    async def _taken(self, giver: PrometheusReceiver | None, key: _Key, target: Target, job: Job) -> Scraping:
        old = giver._scrapings.pop(key, None) if giver is not None else None
        if old is not None:
            if old.target == target and _scraped_alike(old.job, job):
                old.use(job)
                return old
            state = await old.stop()
            state.relabelled()
            new = Scraping(target, job, state)
        else:
            new = Scraping(target, job)
        new.start()
        return new

    def _job(self, config: ScrapeConfig) -> Job:
        context, source = self._context, self._source
        fetcher = Fetcher(
            config,
            self._workers,
            context.admission.limit_bytes // 2,
            own=self._identity.instance_id,
            addresses=source.addresses if source is not None else None,
        )
        return Job(
            config=config,
            external=tuple(sorted(self._config.config.global_.external_labels.items())),
            fetcher=fetcher,
            delivery=self._delivery,
            places=self._places,
            workers=self._workers,
            context=context,
            warnings=Occasional(context),
            remarks=Occasional(context),
            errors=self._errors,
        )

    def _mine(self, target: Target) -> bool:
        """With workers each target is scraped by one of them."""
        workers = self._identity.workers
        return workers <= 1 or target.hash % workers == self._identity.worker - 1

    def _limited(self, job: ScrapeConfig, targets: list[Target]) -> list[Target]:
        if job.target_limit and len(targets) > job.target_limit:
            raise WrongTarget(f"it has {len(targets)} targets, more than target_limit allows ({job.target_limit})")
        return targets

    async def _discover(self, job: ScrapeConfig, discovery: RegistrySdConfig) -> None:
        warnings, scraping = Occasional(self._context), self._config.config
        while True:
            try:
                if self._source is None:
                    raise Retryable("there is no service registry here")
                found = await self._source.targets(include_offline=discovery.include_offline)
                targets, wrong = _found(scraping, job, found)
                self._found[job.job_name] = self._limited(job, targets)
                if wrong:
                    warnings.warn("the job %r leaves out registered services: %s", job.job_name, wrong)
                await self._sync()
            except WrongTarget as error:
                warnings.warn("the job %r keeps the registered targets it had: %s", job.job_name, error)
            except Retryable as error:
                warnings.warn("the service registry cannot be asked for targets; those known stay: %s", error)
            except Exception as error:
                self._errors.unexpected(error, f"{self._context.id}: looking for registered targets")
            await asyncio.sleep(discovery.refresh_interval)

    def _show(self) -> None:
        running = self._scrapers.running.get(self._context.id)
        gauge = self._context.telemetry.gauge("ares_otel_scrape_targets").labels(receiver=self._context.id)
        gauge.set(0 if running is None else len(running._scrapings))


def _found(scraping: ScrapingConfig, job: ScrapeConfig, found: Iterable[Mapping[str, str]]) -> tuple[list[Target], str]:
    """The targets, and why the first of those that cannot be asked cannot."""
    made: dict[Target, None] = {}
    wrong = ""
    for labels in found:
        try:
            made.update(dict.fromkeys(targets_of(scraping, job, [labels], discovered=True)))
        except WrongTarget as error:
            wrong = wrong or str(error)
    return list(made), wrong


async def _leave(leaving: Sequence[Scraping]) -> None:
    for begin in range(0, len(leaving), _LEAVING):
        await asyncio.gather(*(one.leave() for one in leaving[begin : begin + _LEAVING]))


def _key(target: Target) -> _Key:
    """What makes a target the same one although it is scraped in another way."""
    return target.job_name, target.url, target.labels


def _scraped_alike(one: Job, other: Job) -> bool:
    left_out = set(_ONLY_TARGETS)
    return one.external == other.external and all(
        getattr(one.config, name) == getattr(other.config, name)
        for name in type(one.config).model_fields
        if name not in left_out
    )


FACTORY = ReceiverFactory("prometheus", PrometheusReceiverConfig, PrometheusReceiver, frozenset({METRICS}))
"""How the pipeline makes a `prometheus` receiver."""
