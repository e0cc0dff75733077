"""A process obeys the settings of its service; the same by REST and by SQL."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from ares_otel.control import config_manager
from ares_otel.control.config import changes
from ares_otel.control.config_values import ConfigChange
from ares_otel.sdk.remote.control import RemoteControl
from ares_otel.sdk.remote.reader import FlexibleMetricReader
from tests.support.eventually import eventually
from tests.support.postgres import copied_database
from tests.support.remote import Ares, ares_on, comes

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def module_database(postgres_server: str) -> Iterator[str]:
    with copied_database(postgres_server) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ares(module_database: str) -> AsyncIterator[Ares]:
    async with ares_on(module_database) as made:
        yield made


@pytest.fixture
def service() -> str:
    """A service that no other test has."""
    return f"orders/{next(_numbers)} ü"


@pytest.fixture(params=["rest", "sql"])
def source(request: pytest.FixtureRequest, ares: Ares) -> dict[str, Any]:
    return {"api_url": ares.api_url} if request.param == "rest" else {"database_url": ares.database_url}


@contextmanager
def controlled(service: str, source: dict[str, Any]) -> Iterator[RemoteControl]:
    """A started control. Its end must be quick: nothing waits for the network."""
    control = RemoteControl(service, **source)
    control.start()
    try:
        yield control
    finally:
        assert control.stop(20)
        assert not [thread for thread in threading.enumerate() if thread.name == "ares-otel settings"]


async def known(control: RemoteControl) -> None:
    assert await asyncio.to_thread(control.settings.wait, 30)


async def test_settings_are_read_and_followed_and_callbacks_hear_of_them(
    ares: Ares, service: str, source: dict[str, Any]
) -> None:
    await ares.put(service, "limit", 3)
    heard: list[ConfigChange] = []
    later: list[tuple[Any, str]] = []

    async def slowly(change: ConfigChange) -> None:
        await asyncio.sleep(0)
        later.append((change.new, threading.current_thread().name))

    def fails(change: ConfigChange) -> None:
        raise RuntimeError("no")

    with controlled(service, source) as control:
        control.settings.on_change("lim*", fails)
        control.settings.on_change("lim*", heard.append)
        subscription = control.settings.on_change("limit", slowly)
        assert control.settings.get_int("absent", 7) == 7
        await known(control)
        await comes(lambda: len(heard) == len(later) == 1)
        assert (heard[0].new, heard[0].created) == (3, True), "the first values are changes from nothing"
        assert control.settings.get_int("limit", 0) == 3
        id = await ares.put(service, "limit", {"a": [1, None]})
        await ares.put("another", "limit", 9)
        await comes(lambda: control.settings.revision == id)
        assert control.settings.get_json("limit") == {"a": [1, None]}
        assert control.settings.get_int("limit", 0) == 3, "the last good one"
        await comes(lambda: len(heard) == len(later) == 2)
        assert (heard[1].old, heard[1].new) == (3, {"a": [1, None]})
        assert later[1][1] == "ares-otel settings"
        subscription.cancel()
        id = await ares.delete(service, "limit")
        await comes(lambda: control.settings.revision == id)
        assert control.settings.get_string("limit", "gone") == "gone"
        await comes(lambda: len(heard) == 3)
        assert heard[2].deleted
        for getter, value in (("get_bool", True), ("get_float", 1.5), ("get_string", "x")):
            id = await ares.put(service, getter, value)
            await comes(lambda id=id: control.settings.revision == id)  # type: ignore[misc]
            assert getattr(control.settings, getter)(getter, None) == value
    assert len(later) == 2
    assert control.settings.get_float("get_float", 0) == 1.5, "the last values stay"


async def test_levels_sampling_and_interval_follow_and_go_back(
    ares: Ares, service: str, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger(f"test_sdk_remote.{next(_numbers)}")
    logger.setLevel(logging.ERROR)
    root = logging.getLogger().level
    with controlled(service, source) as control:
        sampler = control.sampler(ALWAYS_ON)
        reader = control.metric_reader(ConsoleMetricExporter(), interval_millis=3_600_000)
        assert isinstance(reader, FlexibleMetricReader)
        wanted = {
            f"logging.level.{logger.name}": "debug",
            "logging.level": "warn",
            "sampling.ratio": 0.25,
            "sampling.rules": [{"operation": "GET /health*", "ratio": 0}],
            "metrics.interval": 5000,
        }
        for key, value in wanted.items():
            id = await ares.put(service, key, value)
        await comes(lambda: control.settings.revision == id)
        try:
            assert (logger.level, logging.getLogger().level) == (logging.DEBUG, logging.WARNING)
            assert "rules:1,otherwise:TraceIdRatioBased{0.25}" in sampler.get_description()
            assert reader.interval == 5000
            assert control.sampler(ALWAYS_ON).get_description() == sampler.get_description(), "also one made later"
            for key in wanted:
                id = await ares.put(service, key, "nonsense")
            await comes(lambda: control.settings.revision == id)
            assert (logger.level, reader.interval) == (logging.DEBUG, 5000)
            assert caplog.text.count("is not used: The value of") == len(wanted)
        finally:
            for key in wanted:
                id = await ares.delete(service, key)
            await comes(lambda: control.settings.revision == id)
        assert (logger.level, logging.getLogger().level) == (logging.ERROR, root)
        assert sampler.get_description() == ALWAYS_ON.get_description()
        assert reader.interval == 3600
        reader.shutdown()


async def test_telemetry_says_by_which_settings_it_was_made(ares: Ares, service: str, source: dict[str, Any]) -> None:
    with controlled(service, source) as control:
        spans = InMemorySpanExporter()
        logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        tracing = TracerProvider(shutdown_on_exit=False)
        tracing.add_span_processor(control.span_processor())
        tracing.add_span_processor(SimpleSpanProcessor(spans))
        logging_ = LoggerProvider(shutdown_on_exit=False)
        logging_.add_log_record_processor(control.log_record_processor())
        logging_.add_log_record_processor(SimpleLogRecordProcessor(logs))

        def make() -> None:
            tracing.get_tracer("t").start_span("s").end()
            logging_.get_logger("l").emit(body="b")

        make()
        await known(control)
        make()  # the service has never had a setting
        ids = []
        for value in (1, 2):
            ids.append(await ares.put(service, "any", value))
            await comes(lambda: control.settings.revision == ids[-1])
            make()
        ids.append(await ares.delete(service, "any"))
        await comes(lambda: control.settings.revision == ids[-1])
        make()
        expected = [None, None, *ids]
        stamped = [(span.attributes or {}).get("ares.config.revision") for span in spans.get_finished_spans()]
        assert stamped == expected
        attributes = [record.log_record.attributes or {} for record in logs.get_finished_logs()]
        assert [found.get("ares.config.revision") for found in attributes] == expected
        tracing.shutdown()
        logging_.shutdown()
    rows = await ares.pool.fetch(
        "SELECT new_value::text FROM service_config_history WHERE id = ANY ($1) ORDER BY id", ids
    )
    assert [row[0] for row in rows] == ["1", "2", None], "what a query finds"


async def test_a_secret_is_said_not_to_be_there_once(
    ares: Ares, service: str, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    envelope = {"alg": "A256GCM", "kid": "x", "nonce": "x", "ct": "x"}
    await ares.pool.execute(
        "INSERT INTO service_config (service_name, config_key, config_value, is_encrypted) VALUES ($1, 'k', $2, true)",
        service,
        json.dumps(envelope),
    )
    with controlled(service, source) as control:
        await known(control)
        id = await ares.put(service, "other", 1)
        await comes(lambda: control.settings.revision == id)
        assert control.settings.get_json("k", "nothing") == "nothing"
    said = [record.getMessage() for record in caplog.records if "is not used" in record.getMessage()]
    secret = "it is encrypted, and applications are not given it; what was before stays in force."
    assert said == [f"Version 1 of {service}/k is not used: {secret}"]


async def test_ares_may_come_late_go_and_come_back(
    ares: Ares, service: str, source: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """By SQL it is the database whose connections break."""
    caplog.set_level(logging.INFO)
    if "api_url" in source:
        await ares.stop()
    with controlled(service, source) as control:
        if "api_url" in source:
            await comes(lambda: "are not followed just now" in caplog.text)
            await ares.start()
        await known(control)
        id = await ares.put(service, "k", 1)
        await comes(lambda: control.settings.revision == id)
        for value in (2, 3):
            await ares.cut_connections()
            if "api_url" in source:
                await ares.stop()
            id = await ares.put(service, "k", value)
            if "api_url" in source:
                await ares.start()
            await comes(lambda: control.settings.revision == id)  # noqa: B023
        assert control.settings.get_int("k", 0) == 3
    said = [record.getMessage() for record in caplog.records if record.name == "ares_otel.sdk.remote"]
    complaints = sum("are not followed just now" in text for text in said)
    assert 1 <= complaints <= 3 if "api_url" in source else complaints == 0, "once for each time that it was away"
    assert not [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_the_child_of_a_fork_follows_too(ares: Ares, service: str, source: dict[str, Any]) -> None:
    heard: list[Any] = []
    with controlled(service, source) as control:
        await known(control)
        control.settings.on_change("k", lambda change: heard.append(change.new))
        await ares.put(service, "k", 1)
        await comes(lambda: heard == [1])
        child = os.fork()
        if child == 0:
            for _ in range(3000):
                if heard == [1, 2] and control.settings.get_int("k", 0) == 2:
                    os._exit(0)
                threading.Event().wait(0.01)
            os._exit(1)
        ended = asyncio.create_task(asyncio.to_thread(os.waitpid, child, 0))
        await ares.put(service, "k", 2)
        assert os.waitstatus_to_exitcode((await ended)[1]) == 0
        await comes(lambda: heard == [1, 2])


async def test_a_callback_that_hangs_does_not_hold_up_the_end(ares: Ares, service: str, source: dict[str, Any]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hangs(_: ConfigChange) -> None:
        entered.set()
        leave.wait(60)

    control = RemoteControl(service, **source)
    control.settings.on_change("k", hangs)
    control.start()
    await ares.put(service, "k", 1)
    await asyncio.to_thread(entered.wait, 30)
    assert control.stop(0.05) is False
    leave.set()
    await comes(lambda: not [one for one in threading.enumerate() if one.name == "ares-otel settings"])


async def test_it_can_be_started_again(ares: Ares, service: str, source: dict[str, Any]) -> None:
    control = RemoteControl(service, **source)
    for value in (1, 2):
        id = await ares.put(service, "k", value)
        control.start()
        control.start()
        await comes(lambda: control.settings.revision == id)  # noqa: B023
        assert await asyncio.to_thread(control.stop, 20)
        assert control.stop(0)
    assert control.settings.get_int("k", 0) == 2


async def test_more_applications_than_streams_ask_for_their_settings(
    ares: Ares, service: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(changes, "MAX_WATCHERS", 0)
    with controlled(service, {"api_url": ares.api_url}) as control:
        for value in (1, 2):
            id = await ares.put(service, "k", value)
            await comes(lambda: control.settings.revision == id)  # noqa: B023
        assert control.settings.get_int("k", 0) == 2
        monkeypatch.undo()
        await comes(lambda: ares.feed.watchers == 1)
    said = [record.getMessage() for record in caplog.records if record.name == "ares_otel.sdk.remote"]
    assert len(said) == 1
    assert "are asked for every few seconds" in said[0]


async def test_a_database_that_was_made_anew_is_believed(ares: Ares, service: str) -> None:
    """Versions and ids begin again: by REST all settings are taken as they are with every connection."""
    for value in (1, 2, 3):
        await ares.put(service, "k", value)
    with controlled(service, {"api_url": ares.api_url}) as control:
        await comes(lambda: control.settings.get_int("k", 0) == 3)
        await ares.stop()
        async with ares.pool.acquire() as sql, sql.transaction():
            await sql.execute("SET LOCAL session_replication_role = replica")
            await sql.execute("DELETE FROM service_config_history WHERE service_name = $1", service)
            await sql.execute("UPDATE service_config SET version = 1, config_value = '8' WHERE config_key = 'k'")
        await ares.start()
        await comes(lambda: control.settings.get_int("k", 0) == 8)
        assert control.settings.revision == 0


async def test_the_manager_tells_the_newest_change_of_its_services_also_without_settings(ares: Ares) -> None:
    manager = config_manager.ConfigManager(ares.database_url, services=["alone"], poll_seconds=3600)
    await manager.start()
    try:
        assert manager.newest_change == 0
        async with ares.pool.acquire() as sql, sql.transaction():  # set and taken back before anybody looks
            await sql.execute(
                "INSERT INTO service_config (service_name, config_key, config_value) VALUES ('alone','k','1')"
            )
            await sql.execute("DELETE FROM service_config WHERE service_name = 'alone'")
        id = await ares.newest("alone")
        await eventually(lambda: asyncio.sleep(0, manager.newest_change == id), every=0.01)
        assert manager.keys() == []
    finally:
        await manager.stop()


async def test_the_statements_of_the_documentation_run(ares: Ares) -> None:
    page = (Path(__file__).parents[2] / "docs" / "remote-control.md").read_text(encoding="utf-8")
    blocks = re.findall(r"\n\n((?:    .*\n)+)", page)
    statements = [block for block in blocks if block.lstrip().startswith(("SELECT", "INSERT"))]
    assert len(statements) == 3
    for statement in statements:
        await ares.pool.execute(statement)
    assert await ares.pool.fetchval("DELETE FROM service_config WHERE service_name = 'orders' RETURNING config_value")
