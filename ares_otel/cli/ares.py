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
from ares_otel.api.problems import problem_body
from ares_otel.cli import console
from ares_otel.cli.components import COMPONENTS
from ares_otel.cli.event_bus import Events
from ares_otel.cli.maintenance import MaintenanceJobs, partitions_of
from ares_otel.cli.options import UpOptions
from ares_otel.cli.own_registration import OwnRegistration
from ares_otel.cli.own_settings import FileSettings, OwnSettings
from ares_otel.cli.own_telemetry import SERVICE, OwnTelemetry
from ares_otel.cli.rollups import rollup_job
from ares_otel.cli.storing import body_scanner, make_store, open_spool
from ares_otel.control.config import ConfigService
from ares_otel.control.config.changes import ChangeFeed
from ares_otel.control.config.schema import problem_of
from ares_otel.control.config_manager import ConfigManager
from ares_otel.control.crypto import Keyring
from ares_otel.control.heartbeats import Heartbeats
from ares_otel.control.probe_targets import ProbeTargets
from ares_otel.control.prober import Prober
from ares_otel.control.registry import Registration, Registry
from ares_otel.demo.shop import DemoShop, ShopError
from ares_otel.model.errors import StartError
from ares_otel.model.scan import BodyScanner
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import BRIEF_SECONDS, Grace, Stages
from ares_otel.pipeline.graph import Parts
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.http_door import HttpDoor
from ares_otel.pipeline.listen import BindPolicy, bind, check_bind
from ares_otel.pipeline.load import load_file
from ares_otel.pipeline.problem import ConfigError
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded import EmbeddedPostgres
from ares_otel.storage.migrate import migrate
from ares_otel.storage.rows.implementation import active
from ares_otel.storage.sqlstate import DATABASE_ERRORS
from ares_otel.storage.store import Store

OWN_SECONDS = 5.0
"""In which Ares's own last spans and log lines must be stored when it stops."""
READ_CONNECTIONS = 8
READ_TIMEOUT_MS = 15_000
"""A query that takes longer is ended: reads must not starve ingest."""

log = logging.getLogger("ares_otel.up")


class Ares:
    """One running Ares. `start` opens the doors, `stop` closes them and loses nothing that was accepted."""

    def __init__(self, options: UpOptions) -> None:
        self._options = options
        self._host: PipelineHost | None = None
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
        for probe in bind(options.host, options.http_port, "--http-port", "--host"):
            probe.close()  # a port that is taken is said before a database is made
        self._keyring.take_from(Keyring.from_environ())
        telemetry = Telemetry()
        admission = Admission(options.admission_limit_mib * 1024 * 1024)
        telemetry.gauge("ares_otel_admission_limit_bytes").set(admission.limit_bytes)
        telemetry.gauge("ares_otel_admission_used_bytes").set_function(lambda: admission.used_bytes)

        url, facts = await self._database()
        pool = self._pool = await self._read_pool(url, facts, telemetry)
        manager = self._manager = await self._config_manager(url, facts, telemetry)
        settings = self._settings = OwnSettings(manager, _file_settings(config))
        events = await self._events(telemetry, settings, url, facts)
        spool = await open_spool(options, telemetry, stack)
        store = self._store = make_store(url, facts, telemetry, spool)
        stack.push_bounded("The writer", store.stop)
        registry = self._registry(pool, manager, events)
        stack.push_async_callback(registry.stop)
        heartbeats = Heartbeats(pool, interval=registry.interval, announcer=registry.announcer)
        stack.push_async_callback(heartbeats.stop)
        store.on_stored = lambda batch: heartbeats.seen(batch.services)
        await store.start()
        partitions = partitions_of(pool, manager)
        embedded_data = options.data_dir if self._embedded is not None else None
        jobs = MaintenanceJobs(store, manager, partitions, telemetry, data_dir=embedded_data, pooled=facts.pooled)
        stack.push_async_callback(jobs.stop)
        await jobs.start()
        rollups = rollup_job(store, manager, telemetry, pooled=facts.pooled)
        stack.push_async_callback(rollups.stop)
        await rollups.start()
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
        app = create_app(
            pool,
            version=__version__,
            registry=telemetry.registry,
            ready=self._reasons_not_ready,
            service_registry=registry,
            config=config_service,
            config_feed=config_feed,
            event_streams=events.streams,
            event_topics=events.analytics.topics,
            partitions=partitions,
        )
        own.instrument(app)
        api = HttpDoor(
            "http",
            app,
            host=options.host,
            port=options.http_port,
            setting="--http-port",
            host_setting="--host",
            allowed_hosts=options.allowed_hosts,
            error_bodies=problem_body,
            lifespan="on",
            grace=self._grace,
        )
        stack.push_bounded("The API", api.stop)
        stack.push_async_callback(config_feed.stop)  # before the door, which waits for its streams
        stack.push_async_callback(events.streams.stop)
        await api.start()

        services: dict[type, object] = {Store: store, BindPolicy: policy, Grace: self._grace}
        if (scanner := body_scanner()) is not None:
            services[BodyScanner] = scanner
        self._host = PipelineHost(Parts(telemetry, admission, services=services), grace=self._grace)
        stack.push_bounded("The pipeline", self._host.stop)
        await self._host.replace(config)

        beats = OwnRegistration(
            registry,
            Registration(SERVICE, version=__version__, instance_id=self._instance_id(), port=api.port),
            registry.interval,
        )
        stack.push_async_callback(beats.stop)
        await beats.start()

        self.doors["http"] = api.url
        self._find_receivers()
        self.doors["database"] = url
        if options.demo:
            await self._start_demo()
        log.info("Ares OTel %s is ready.", __version__)

    async def reload(self) -> None:
        """Reads the configuration file again and makes it run; a mistake in it leaves the old one running."""
        assert self._host is not None
        assert self._settings is not None
        assert self._manager is not None
        try:
            config = self._load()
            self._keyring.take_from(Keyring.from_environ())  # a key file may hold other keys now
            self._manager.refresh()
            await self._host.replace(config)
        except StartError as error:
            log.error("The configuration was not changed:")
            for line in error.message.splitlines():
                log.error("  %s", line)
            return
        self._settings.read_file(_file_settings(config))
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

    def _load(self) -> PipelineConfig:
        options = self._options
        try:
            config = load_file(options.config, COMPONENTS, options.environ(os.environ))
        except ConfigError as error:
            raise StartError(str(error)) from error
        options.check_used(config)
        for warning in config.warnings:
            console.progress(warning.show(config.file))
        for sentence in options.unknown_variables(os.environ, config):
            console.progress(f"WARNING: {sentence}")
        return config

    def _find_receivers(self) -> None:
        """Notes where the receivers listen now, here and for a second start on the same directory."""
        assert self._host is not None
        for receiver in self._host.receivers.values():
            for name, address in getattr(receiver, "doors", {}).items():
                self.doors[name] = address if "://" in address else f"http://{address}"
        if self._embedded is not None:
            self._embedded.announce({name: url for name, url in self.doors.items() if name != "database"})

    async def _database(self) -> tuple[str, ServerFacts]:
        url = self._options.database_url
        if url is None:
            embedded = self._embedded = EmbeddedPostgres(self._options.data_dir, progress=console.progress)
            self._stack.push_whole(embedded.stop)
            url = await embedded.start()
        facts = await check_database(url)
        for warning in facts.warnings:
            console.progress(f"WARNING: {warning}")
        connection = await asyncpg.connect(url, timeout=10, **asyncpg_kwargs(facts))
        try:
            await migrate(connection, progress=console.progress)
        finally:
            await connection.close()
        return url, facts

    async def _read_pool(self, url: str, facts: ServerFacts, telemetry: Telemetry) -> asyncpg.Pool:
        options = asyncpg_kwargs(facts)
        if not facts.pooled:  # a pooler refuses settings at connection time
            options["server_settings"] = {
                "statement_timeout": str(READ_TIMEOUT_MS),
                "application_name": "ares-otel read",
            }
        pool = await asyncpg.create_pool(
            url,
            min_size=0,  # kept connections would be restored with a traceback each time the server is away
            max_size=READ_CONNECTIONS,
            timeout=10,
            command_timeout=READ_TIMEOUT_MS / 1000 + 5,
            **options,
        )
        self._stack.push_bounded("The pool of reads", partial(_close_pool, pool), at_most=BRIEF_SECONDS)
        gauge = telemetry.gauge("ares_otel_pool_connections")
        gauge.labels(pool="read", state="open").set_function(pool.get_size)
        gauge.labels(pool="read", state="idle").set_function(pool.get_idle_size)
        return pool

    async def _config_manager(self, url: str, facts: ServerFacts, telemetry: Telemetry) -> ConfigManager:
        manager = ConfigManager(
            url,
            keyring=self._keyring,
            check=problem_of,
            listen=not facts.pooled,
            connect_options=asyncpg_kwargs(facts),
        )
        self._stack.push_async_callback(manager.stop)
        await manager.start()
        telemetry.gauge("ares_otel_config_age_seconds").set_function(lambda: manager.age_seconds)
        return manager

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
        if self._pool is None or self._host is None:
            return ["Ares is starting."]
        try:
            async with asyncio.timeout(2):
                await self._pool.fetchval("SELECT 1")
        except DATABASE_ERRORS:
            return ["The database does not answer."]
        breakers = self._store.breakers.values() if self._store is not None else ()
        return list(dict.fromkeys(breaker.reason for breaker in breakers if breaker.open))

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


def _file_settings(config: PipelineConfig) -> FileSettings:
    return FileSettings(config.telemetry.logs.level, config.telemetry.traces.level != "none")


async def _close_pool(pool: asyncpg.Pool) -> None:
    """Waits for reads under way. Terminates them when it is cancelled."""
    try:
        await pool.close()
    finally:
        pool.terminate()
