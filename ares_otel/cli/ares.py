"""The whole house: put together, its doors opened, and taken down again in the opposite order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from functools import partial

import asyncpg

from ares_otel import __version__
from ares_otel.api.app import create_app
from ares_otel.api.own_pages import NamedPages
from ares_otel.api.problems import problem_body
from ares_otel.cli import console
from ares_otel.cli.components import COMPONENTS
from ares_otel.cli.event_bus import Events
from ares_otel.cli.ingest import Ingest, LocalIngest, make_host, open_doors
from ares_otel.cli.jaeger import open_jaeger_grpc
from ares_otel.cli.jaeger_http import check_jaeger_port, make_jaeger, open_jaeger_door
from ares_otel.cli.maintenance import MaintenanceJobs, partitions_of
from ares_otel.cli.metric_writes import make_metric_writes, with_paths
from ares_otel.cli.options import UpOptions
from ares_otel.cli.own_config import follow_settings
from ares_otel.cli.own_registration import OwnRegistration
from ares_otel.cli.own_settings import FileSettings, OwnSettings
from ares_otel.cli.own_telemetry import SERVICE, OwnTelemetry
from ares_otel.cli.prometheus_index import series_index
from ares_otel.cli.read_pool import open_read_pool
from ares_otel.cli.remote_reads import remote_reads
from ares_otel.cli.rollups import rollup_job
from ares_otel.cli.sampling import Sampling, check_port
from ares_otel.cli.scrape_targets import registry_targets
from ares_otel.cli.storing import Storing, say_encoder
from ares_otel.cli.workers.setup import (
    OTHERS_CONNECTIONS,
    check_parts,
    connections_needed,
    options_of_supervisor,
    setups,
    warn_of_connections,
    warn_of_processors,
)
from ares_otel.cli.workers.supervisor import RELOAD_SECONDS, Workers
from ares_otel.control.config import ConfigService
from ares_otel.control.config.changes import ChangeFeed
from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.crypto import Keyring
from ares_otel.control.heartbeats import Heartbeats
from ares_otel.control.probe_targets import ProbeTargets
from ares_otel.control.prober import Prober
from ares_otel.control.registry import Registration, Registry
from ares_otel.demo.shop import DemoShop, ShopError
from ares_otel.model.errors import StartError
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace, Stages
from ares_otel.pipeline.http_door import HttpDoor
from ares_otel.pipeline.identity import Identity
from ares_otel.pipeline.listen import BindPolicy, bind, check_bind
from ares_otel.pipeline.load import load_bytes, read_file
from ares_otel.pipeline.problem import ConfigError
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.migrate import migrate
from ares_otel.storage.rows.implementation import active
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.store import Store
from ares_otel.storage.writer import CONNECTIONS

OWN_SECONDS = 5.0
"""In which Ares's own last spans and log lines must be stored when it stops."""

log = logging.getLogger("ares_otel.up")


class Ares:
    """One running Ares. `start` opens the doors, `stop` closes them and loses nothing that was accepted."""

    def __init__(self, options: UpOptions) -> None:
        self._options = options
        self._ingest: Ingest | None = None
        self._content = ""
        """The configuration file as it was read last (as latin-1)."""
        self._pool: asyncpg.Pool | None = None
        self._keyring = Keyring()
        self._manager: ConfigManager | None = None
        self._settings: OwnSettings | None = None
        self._store: Store | None = None
        self._embedded: EmbeddedPostgres | None = None
        self._stopping = False
        self._grace = Grace(options.shutdown_grace)
        self._stack = Stages(self._grace)
        self.doors: dict[str, str] = {}
        """Name → URL of every open door, after `start`."""

    async def start(self) -> None:
        """Starts everything, exporters before receivers.

        Raises:
            StartError: with one clear line; what had been started is stopped by `stop`.
        """
        options, stack = self._options, self._stack
        config = self._load()  # before anything is started: a mistake in the file costs no initdb
        console.log_to_stderr(config.telemetry.logs.level)
        policy = BindPolicy(options.allow_unauthenticated, options.allowed_hosts)
        check_bind(options.host, policy, "--host")
        active()  # ARES_OTEL_IMPL may ask for an encoder that is not there
        for port, setting in ((options.http_port, "--http-port"), (options.jaeger_grpc_port, "--jaeger-grpc-port")):
            for probe in bind(options.host, port, setting, "--host"):
                probe.close()  # a port that is taken is said before a database is made
        check_jaeger_port(options)
        check_port(options)
        self._keyring.take_from(Keyring.from_environ())
        telemetry = Telemetry()
        workers = await self._spawn_workers(config, policy, telemetry) if options.workers > 1 else None

        url, facts = await self._database()
        pool = self._pool = await open_read_pool(url, facts, telemetry, stack)
        manager = self._manager = await follow_settings(url, facts, self._keyring, telemetry, stack)
        settings = self._settings = OwnSettings(manager, FileSettings.of(config))
        events = await self._events(telemetry, settings, url, facts)
        storing = Storing(options_of_supervisor(options), telemetry)
        await storing.open_spool(stack)
        store = self._store = storing.make_store(url, facts, CONNECTIONS if workers is None else 1)
        say_encoder()
        stack.push_bounded("The writer", store.stop)
        registry = self._registry(pool, manager, events)
        stack.push_async_callback(registry.stop)
        heartbeats = Heartbeats(pool, interval=registry.interval, announcer=registry.announcer)
        stack.push_async_callback(heartbeats.stop)
        store.on_stored = lambda batch: heartbeats.seen(batch.services)
        await store.start()
        leftovers = storing.leftovers(0 if workers is None else workers.count)
        stack.push_async_callback(leftovers.stop)
        await leftovers.start(store)
        partitions = partitions_of(pool, manager)
        embedded_data = options.data_dir if self._embedded is not None else None
        jobs = MaintenanceJobs(store, manager, partitions, telemetry, data_dir=embedded_data, pooled=facts.pooled)
        if workers is not None:
            jobs.queue_bytes = lambda: workers.queue_bytes
            workers.on_seen = heartbeats.seen
            workers.bus = events.bus
        stack.push_async_callback(jobs.stop)
        await jobs.start()
        rollups = rollup_job(store, manager, telemetry, pooled=facts.pooled)
        stack.push_async_callback(rollups.stop)
        await rollups.start()
        index = series_index(store, manager, telemetry, pooled=facts.pooled)
        stack.push_async_callback(index.stop)
        await index.start()
        sampling = Sampling(pool, store, manager, telemetry, pooled=facts.pooled)
        await sampling.start(stack)
        await heartbeats.start()
        await registry.start()
        await events.follow(store)
        await self._start_prober(pool, manager, registry, telemetry)

        own = OwnTelemetry(
            store,
            telemetry,
            version=__version__,
            instance_id=self._instance_id(),
            spans=settings.spans,
        )
        stack.push_bounded("Ares's own telemetry", own.stop, at_most=OWN_SECONDS)
        settings.steer(own.record_spans)
        config_service, config_feed = await self._config_service(pool, url, facts)
        jaeger = make_jaeger(pool, options, sampling.endpoint)
        app = create_app(
            pool,
            version=__version__,
            registry=telemetry.registry,
            ready=self._reasons_not_ready,
            gather=None if workers is None else workers.metrics,
            service_registry=registry,
            config=config_service,
            config_feed=config_feed,
            event_streams=events.streams,
            event_topics=events.analytics.topics,
            partitions=partitions,
            jaeger=jaeger,
            sampling=sampling.endpoint,
            remote_reads=remote_reads(options, telemetry),
            metric_writes=make_metric_writes(lambda: self._ingest, config, stack),
        )
        own.instrument(app)
        api = HttpDoor(
            "http",
            NamedPages(app, self._instance_id()),
            host=options.host,
            port=options.http_port,
            setting="--http-port",
            host_setting="--host",
            allowed_hosts=options.allowed_hosts,
            error_bodies=with_paths(problem_body),
            lifespan="on",
            grace=self._grace,
        )
        stack.push_bounded("The API", api.stop)
        stack.push_async_callback(config_feed.stop)  # before the door, which waits for its streams
        stack.push_async_callback(events.streams.stop)
        await api.start()
        self.doors.update(await open_jaeger_door(options, jaeger, self._grace, stack))
        self.doors |= await sampling.open_door(options, self._grace, stack)

        if workers is None:
            identity, targets = Identity(self._instance_id()), registry_targets(options, url, facts, stack)
            host = make_host(options, telemetry, store, self._grace, identity, targets=targets)
            ingest = self._ingest = LocalIngest(host)
            stack.push_bounded("The pipeline", ingest.stop)
            await ingest.replace(self._content, config)
        else:
            stack.push_bounded("The workers", workers.stop)
            await workers.start(self._content, setups(options, url, facts, self._instance_id()))
            self._ingest = workers

        self.doors |= await open_jaeger_grpc(
            options, config, pool, lambda: self._ingest, self._reasons_not_ready, self._grace, stack, sampling=sampling
        )
        beats = OwnRegistration(
            registry,
            Registration(SERVICE, version=__version__, instance_id=self._instance_id(), port=api.port),
            registry.interval,
        )
        stack.push_async_callback(beats.stop)
        await beats.start()

        self.doors |= {"http": api.url, "database": url}
        self._find_receivers()
        if options.demo:
            await self._start_demo()
        log.info("Ares OTel %s is ready.", __version__)

    async def reload(self) -> None:
        """Reads the configuration file again and makes it run; a mistake in it leaves the old one running."""
        assert self._ingest is not None
        assert self._settings is not None
        assert self._manager is not None
        try:
            config = self._load()
            self._keyring.take_from(Keyring.from_environ())  # a key file may hold other keys now
            self._manager.refresh()
            await self._ingest.replace(self._content, config)
        except StartError as error:
            log.error("The configuration was not changed:")
            for line in error.message.splitlines():
                log.error("  %s", line)
            return
        self._settings.read_file(FileSettings.of(config))
        before = dict(self.doors)
        self._find_receivers()
        for name, url in self.doors.items():
            if before.get(name) != url:
                log.warning("The door %s is now %s.", name, url)
        log.info("The configuration %s was read again and is in force.", self._options.config)

    async def stop(self) -> None:
        """Closes the doors, finishes what was accepted, and ends. Safe without `start` and twice."""
        self._stopping = True
        self._grace.begin()
        await self._stack.aclose()

    def hurry(self) -> None:
        """Ends the waiting of a stop that is under way: requests in work are told to come back."""
        self._grace.cut()
        if self._ingest is not None:
            self._ingest.hurry()

    def _load(self) -> PipelineConfig:
        options = self._options
        try:
            content = read_file(options.config)
            config = load_bytes(content, str(options.config), COMPONENTS, options.environ(os.environ))
        except ConfigError as error:
            raise StartError(str(error)) from error
        self._content = content.decode("latin-1")
        options.check_used(config)
        for warning in config.warnings:
            console.progress(warning.show(config.file))
        for sentence in options.unknown_variables(os.environ, config):
            console.progress(f"WARNING: {sentence}")
        return config

    def _find_receivers(self) -> None:
        """Notes where the receivers listen now, here and for a second start on the same directory."""
        assert self._ingest is not None
        self.doors |= open_doors(self._ingest)
        if self._embedded is not None:
            self._embedded.announce({name: url for name, url in self.doors.items() if name != "database"})

    async def _database(self) -> tuple[str, ServerFacts]:
        url = self._options.database_url
        if url is None:
            workers = self._options.workers
            embedded = self._embedded = EmbeddedPostgres(
                self._options.data_dir,
                progress=console.progress,
                connections=connections_needed(workers) + OTHERS_CONNECTIONS if workers > 1 else 0,
            )
            self._stack.push_whole(embedded.stop)
            url = await embedded.start()
        facts = await check_database(url)
        for warning in facts.warnings:
            console.progress(f"WARNING: {warning}")
        connection = await asyncpg.connect(url, timeout=10, **asyncpg_kwargs(facts))
        try:
            await migrate(connection, progress=console.progress)
            if self._options.workers > 1:
                await warn_of_connections(connection, self._options.workers)
        finally:
            await connection.close()
        return url, facts

    async def _spawn_workers(self, config: PipelineConfig, policy: BindPolicy, telemetry: Telemetry) -> Workers:
        """Takes the ports and starts the processes, which are ready to be told more when the database is."""
        check_parts(self._options)
        warn_of_processors(self._options.workers)
        workers = Workers(
            self._options.workers, telemetry, policy=policy, reload_seconds=RELOAD_SECONDS + self._grace.seconds
        )
        self._stack.callback(workers.kill)
        workers.reserve(config)
        await workers.spawn()
        return workers

    async def _config_service(
        self, pool: asyncpg.Pool, url: str, facts: ServerFacts
    ) -> tuple[ConfigService, ChangeFeed]:
        service = ConfigService(pool, self._keyring)
        connect = partial(asyncpg.connect, url, timeout=10, command_timeout=10, **asyncpg_kwargs(facts))
        feed = ChangeFeed(service, connect, listens=not facts.pooled)
        self._stack.push_async_callback(feed.stop)
        await feed.start()
        return service, feed

    async def _events(self, telemetry: Telemetry, settings: OwnSettings, url: str, facts: ServerFacts) -> Events:
        assert self._pool is not None
        events = Events(telemetry, self._stack)
        connect = partial(asyncpg.connect, url, timeout=10, command_timeout=10, **asyncpg_kwargs(facts))
        await events.start(self._pool, settings, connect, listens=not facts.pooled)
        return events

    def _registry(self, pool: asyncpg.Pool, manager: ConfigManager, events: Events) -> Registry:
        return Registry(
            pool,
            interval=lambda: manager.get_float("service.heartbeat_interval", 30.0),
            bus=events.bus,
            targets=ProbeTargets(allow_local=self._options.probe_allow_local),
        )

    async def _start_prober(
        self, pool: asyncpg.Pool, manager: ConfigManager, registry: Registry, telemetry: Telemetry
    ) -> None:
        checks = telemetry.counter("ares_otel_health_checks")
        prober = Prober(
            pool,
            interval=registry.interval,
            timeout=lambda: manager.get_float("service.health_check_timeout", 5.0),
            targets=ProbeTargets(allow_local=self._options.probe_allow_local),
            announcer=registry.announcer,
            on_result=lambda ok: checks.labels(outcome="ok" if ok else "failed").inc(),
        )
        telemetry.gauge("ares_otel_health_checks_running").set_function(lambda: prober.running)
        self._stack.push_async_callback(prober.stop)
        await prober.start()

    def _instance_id(self) -> str:
        """The same after a restart, so that the registry does not fill with instances that are gone."""
        place = self._options.database_url or self._options.data_dir.absolute()
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{socket.gethostname()} {place} {self._options.http_port}"))

    async def _reasons_not_ready(self) -> list[str]:
        if self._stopping:
            return ["Ares is stopping."]
        if self._pool is None or self._ingest is None:
            return ["Ares is starting."]
        try:
            async with asyncio.timeout(2):
                await self._pool.fetchval("SELECT 1")
        except DATABASE_ERRORS:
            return ["The database does not answer."]
        breakers = self._store.breakers.values() if self._store is not None else ()
        reasons = [breaker.reason for breaker in breakers if breaker.open]
        return list(dict.fromkeys(reasons + await self._ingest.reasons_not_ready()))

    async def _start_demo(self) -> None:
        missing = [name for name in ("otlp-grpc", "otlp-http") if name not in self.doors]
        if missing:
            raise StartError(f"--demo sends by gRPC and by HTTP, but {self._options.config} has no {missing[0]} door.")
        shop = DemoShop(otlp_grpc=self.doors["otlp-grpc"], otlp_http=self.doors["otlp-http"], progress=console.progress)
        self._stack.push_bounded("The demo", shop.stop)
        try:
            await shop.start()
        except ShopError as error:
            raise StartError(str(error)) from error
