"""A real Ares for one test: the fixture `ares`."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ares_otel.testing.database import DatabaseThread, Row
from ares_otel.testing.failing import failure
from ares_otel.testing.house.client import HouseClient
from ares_otel.testing.shown import shown_name, shown_value

if TYPE_CHECKING:
    from ares_otel.testing.sending import Sending

_SECONDS = 10.0
_ROWS_SHOWN = 20
_LINE = 200
_EXPECTED = "WARNING: The database runs with "
_TELLING = ("service_name", "operation_name", "status", "log_level", "message", "metric_name", "metric_value", "labels")
_OWN = "ares-api"
_SPANS = "SELECT * FROM v_spans WHERE {} ORDER BY start_time, span_id LIMIT 100000"
_LOGS = 'SELECT * FROM v_logs WHERE {} ORDER BY "timestamp", id LIMIT 100000'
_METRICS = 'SELECT * FROM service_metrics WHERE {} ORDER BY metric_name, "timestamp", id LIMIT 100000'


class Ares:
    """An empty database, and an `ares-otel up` on it that starts when one of its doors is asked for."""

    def __init__(self, house: HouseClient, database: DatabaseThread) -> None:
        self._house = house
        self._lock = threading.Lock()
        self._database_url: str | None = None
        self._doors: dict[str, str] | None = None
        self._log: Path | None = None
        self._sending: Sending | None = None
        self._ended = False
        self._database = database

    @property
    def database_url(self) -> str:
        """URL of a migrated database that is this test's own, as asyncpg and psql take it. No server starts for it."""
        with self._lock:
            self._needs_its_test()
            if self._database_url is None:
                self._database_url = self._house.ask("database")["url"]
            return self._database_url

    @property
    def doors(self) -> dict[str, str]:
        """Name → URL of all doors, as `ares-otel up` prints them: http, otlp-grpc, otlp-http."""
        with self._lock:
            self._needs_its_test()
            if self._doors is None:
                answer = self._house.ask("server")
                self._database_url = answer["url"]
                self._log = Path(answer["log"])
                self._doors = {name: url.rstrip("/") for name, url in answer["doors"].items() if name != "database"}
            return dict(self._doors)

    @property
    def http(self) -> str:
        """Base URL of the REST API."""
        return self.doors["http"]

    @property
    def otlp_grpc(self) -> str:
        """Endpoint of OTLP/gRPC, with a scheme, as the exporters take it."""
        return f"http://{self.doors['otlp-grpc'].rpartition('://')[2]}"

    @property
    def otlp_http(self) -> str:
        """Endpoint of OTLP/HTTP, without a path: OTEL_EXPORTER_OTLP_ENDPOINT."""
        return self.doors["otlp-http"]

    @property
    def started(self) -> bool:
        """Whether a door was asked for."""
        return self._doors is not None

    @property
    def log(self) -> str:
        """What this Ares said on standard error so far."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log is not None else ""

    def env(
        self,
        service_name: str | None = None,
        *,
        exporter: Literal["otlp", "ares_postgres"] = "otlp",
        protocol: Literal["grpc", "http/protobuf"] = "grpc",
    ) -> dict[str, str]:
        """Variables for a child process whose telemetry shall come here, soon after it was made.

        Args:
            service_name: OTEL_SERVICE_NAME.
            exporter: otlp, through the server; ares_postgres, straight into the database, where no server starts.
            protocol: of OTLP.
        """
        variables: dict[str, str] = {f"OTEL_{signal}_EXPORTER": exporter for signal in ("TRACES", "LOGS", "METRICS")}
        variables |= {"OTEL_SDK_DISABLED": "false"}  # which tests often say for all the others
        variables |= {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100"}
        variables |= {"OTEL_METRIC_EXPORT_INTERVAL": "500", "ARES_OTEL_DATABASE_URL": self.database_url}
        if exporter == "otlp":
            endpoint = self.otlp_grpc if protocol == "grpc" else self.otlp_http
            variables |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
            variables |= _past_proxies()
            variables |= {"ARES_OTEL_API_URL": self.http, "ARES_OTEL_DATABASE_URL": self.database_url}
        if service_name is not None:
            variables["OTEL_SERVICE_NAME"] = service_name
        return variables

    def connect(self, service_name: str) -> None:
        """Sends what this very process records from now on here too, until the test ends. The assertions of `otel` go
        on as before; `spans`, `wait_for_spans`, … first send what is still waiting.

        Args:
            service_name: under which it is stored.

        Raises:
            RuntimeError: the application has set a provider that is not the SDK's.
        """
        from ares_otel.testing.sending import Sending

        self.disconnect()
        self._sending = Sending(self.otlp_http, service_name)

    def disconnect(self) -> None:
        """Ends `connect`. Safe without it."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.stop()

    def query(self, sql: str, *arguments: object) -> list[Row]:
        """The rows of a statement as dicts; `$1`, `$2`, … stand for the arguments, JSON columns are decoded.

        Raises:
            asyncpg.PostgresError: what the database says.
        """
        url = self._send()
        return self._database.run(lambda: self._database.fetch(url, sql, *arguments))

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        """As `query`, for a test that is a coroutine: its event loop goes on meanwhile."""
        url = await asyncio.to_thread(self._send)
        return await self._database.run_async(lambda: self._database.fetch(url, sql, *arguments))

    def spans(self, service: str | None = None, name: str | None = None) -> list[Row]:
        """Rows of `v_spans`, of a service and an operation or of all, oldest first; not those of Ares itself."""
        return self.query(*_where(_SPANS, service, operation_name=name))

    def logs(self, service: str | None = None, level: str | None = None) -> list[Row]:
        """Rows of `v_logs`, likewise. `level`: DEBUG, INFO, WARN or ERROR."""
        return self.query(*_where(_LOGS, service, log_level=level))

    def metrics(self, service: str | None = None, name: str | None = None) -> list[Row]:
        """Rows of `service_metrics`, likewise."""
        return self.query(*_where(_METRICS, service, metric_name=name))

    def wait_for_spans(
        self, count: int = 1, service: str | None = None, name: str | None = None, timeout: float = _SECONDS
    ) -> list[Row]:
        """The same rows, as soon as there are at least `count`.

        Raises:
            AssertionError: there are fewer after `timeout` seconds; the text shows what there is.
        """
        __tracebackhide__ = True
        return self._wait("spans", count, timeout, _where(_SPANS, service, operation_name=name))

    def wait_for_logs(
        self, count: int = 1, service: str | None = None, level: str | None = None, timeout: float = _SECONDS
    ) -> list[Row]:
        """As `wait_for_spans`, for `logs`."""
        __tracebackhide__ = True
        return self._wait("log records", count, timeout, _where(_LOGS, service, log_level=level))

    def wait_for_metrics(
        self, count: int = 1, service: str | None = None, name: str | None = None, timeout: float = _SECONDS
    ) -> list[Row]:
        """As `wait_for_spans`, for `metrics`: `count` points."""
        __tracebackhide__ = True
        return self._wait("points", count, timeout, _where(_METRICS, service, metric_name=name))

    async def wait_for_spans_async(
        self, count: int = 1, service: str | None = None, name: str | None = None, timeout: float = _SECONDS
    ) -> list[Row]:
        """As `wait_for_spans`, for a test that is a coroutine."""
        __tracebackhide__ = True
        url = await asyncio.to_thread(self._send)
        where = _where(_SPANS, service, operation_name=name)
        rows = await self._database.run_async(lambda: self._database.until(count, timeout, url, *where))
        return self._enough("spans", count, timeout, rows)

    def wait_until(self, sql: str, *arguments: object, timeout: float = _SECONDS) -> list[Row]:
        """The rows of a statement, as soon as there are any.

        Raises:
            AssertionError: there are none after `timeout` seconds.
        """
        __tracebackhide__ = True
        return self._wait("rows", 1, timeout, (sql, *arguments))

    def complaints(self) -> list[str]:
        """The last lines of `log`, without what it says at every start about a database of tests."""
        lines = [line for line in self.log.splitlines() if _EXPECTED not in line]
        return [shown_name(line, _LINE) for line in lines[-_ROWS_SHOWN:]]

    def __repr__(self) -> str:
        if self._doors is None:
            return "<ares: not started>"
        return f"<ares: {', '.join(f'{name} {url}' for name, url in self._doors.items())}>"

    def _end(self) -> None:
        """Gives everything back."""
        with self._lock:
            self._ended = True
        try:
            self.disconnect()
            self._database.forget()
        finally:
            if self._database_url is not None:
                self._house.ask("release")

    def _needs_its_test(self) -> None:
        """A thread that outlives its test would get what is the next one's."""
        if self._ended:
            raise RuntimeError("This Ares went with its test; a thread of that test asks for it later.")

    def _send(self) -> str:
        """Sends what is waiting; the database to look into."""
        if self._sending is not None:
            self._sending.flush()
        return self.database_url

    def _wait(self, what: str, count: int, timeout: float, where: tuple[Any, ...]) -> list[Row]:
        __tracebackhide__ = True
        url = self._send()
        rows = self._database.run(lambda: self._database.until(count, timeout, url, *where))
        return self._enough(what, count, timeout, rows)

    def _enough(self, what: str, count: int, timeout: float, rows: list[Row]) -> list[Row]:
        __tracebackhide__ = True
        if len(rows) < count:
            there = [_shown(row) for row in rows[:_ROWS_SHOWN]]
            complaints = self.complaints()
            said = ["Ares said:", *complaints] if complaints else []
            raise failure(f"{len(rows)} {what} after {timeout:g} s, not {count}", there, said)
        return rows


def _past_proxies() -> dict[str, str]:
    """A proxy of the environment is not asked for what is on this machine. Who reads which spelling differs."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    return dict.fromkeys(("no_proxy", "NO_PROXY"), f"{known},127.0.0.1" if known else "127.0.0.1")


def _where(sql: str, service: str | None, **more: str | None) -> tuple[str, ...]:
    """The statement and its arguments. Column names are ours, values are bound."""
    given = {column: value for column, value in more.items() if value is not None}
    conditions = ["service_name = $1" if service is not None else "service_name <> $1"]
    conditions += [f"{column} = ${number}" for number, column in enumerate(given, 2)]
    return sql.format(" AND ".join(conditions)), service if service is not None else _OWN, *given.values()


def _shown(row: Row) -> str:
    picked = (
        "service_name",
        "operation_name",
        "status",
        "log_level",
        "message",
        "metric_name",
        "metric_value",
        "labels",
    )
    named = {key: row[key] for key in picked if key in row} or row
    return shown_value(named, 160)
