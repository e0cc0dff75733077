"""The questions that people ask, as a table: what is asked of the database, and by which path of the API."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import asyncpg

from ares_otel.cli.bench.data.fleet import make_fleet, weights
from ares_otel.cli.bench.errors import BenchError
from ares_otel.query.instant import Instant
from ares_otel.query.logs import LogFilter, find_logs
from ares_otel.query.metrics import MetricFilter, find_metrics
from ares_otel.query.search.expression import LEVELS
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.query.service_map import find_operations, find_services, service_map
from ares_otel.query.services import service_performance, system_health
from ares_otel.query.spans import AttributeValue, SpanFilter, find_spans
from ares_otel.query.traces import find_trace

LIMIT = 100
"""What the endpoints give when nobody asks for more or less."""
CUSTOMER = "enduser.id"
"""The attribute that is searched for: there are twenty thousand customers."""
_API = "/api/v1/observability"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one question is about."""

    trace_id: UUID
    service: str
    customer: str
    slow_ms: float
    """Longer than ninety-nine of a hundred spans."""
    hour_ago: datetime
    open_from: datetime
    """Where the partitions begin that are not sealed."""

    @property
    def attribute(self) -> AttributeValue:
        return AttributeValue(CUSTOMER, self.customer)


Ask = Callable[[asyncpg.Pool, Sample], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Question:
    """One row of the table."""

    name: str
    ask: Ask
    """Asks the database as Ares does; the time of its statements is what counts."""
    path: Callable[[Sample], str] | None = None
    """The same over the API."""
    expected_ms: int | None = None
    """What the former system needed, as its documentation says."""
    growth: float | None = None
    """How much longer than with 100,000 spans it may take with ten million."""


def _sql(text: str, *values: Callable[[Sample], Any]) -> Ask:
    async def ask(pool: asyncpg.Pool, sample: Sample) -> object:
        return await pool.fetch(text, *(value(sample) for value in values))

    return ask


def _path(end: str, **values: Callable[[Sample], str]) -> Callable[[Sample], str]:
    return lambda sample: (
        f"{_API}/{end}" + ("?" + urlencode({name: value(sample) for name, value in values.items()}) if values else "")
    )


def _rfc(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _service(sample: Sample) -> str:
    return sample.service


def _one(sample: Sample) -> str:
    return "1"


QUESTIONS: tuple[Question, ...] = (
    Question(
        "trace by id",
        lambda pool, sample: find_trace(pool, sample.trace_id),
        lambda sample: f"{_API}/trace/{sample.trace_id.hex}",
        growth=1.5,
    ),
    Question(
        "logs by trace id",
        lambda pool, sample: find_logs(pool, LogFilter(trace_id=sample.trace_id), limit=LIMIT),
        _path("logs", trace_id=lambda sample: sample.trace_id.hex),
        expected_ms=2,
    ),
    Question(
        "logs by service",
        lambda pool, sample: find_logs(pool, LogFilter(service=sample.service), limit=LIMIT),
        _path("logs", service=_service),
        expected_ms=5,
        growth=1.5,
    ),
    Question(
        "metrics of an hour",
        lambda pool, sample: find_metrics(
            pool, MetricFilter(Instant(sample.hour_ago), service=sample.service), limit=LIMIT
        ),
        _path("metrics", service=_service, hours=_one),
        expected_ms=10,
    ),
    Question("v_system_health", _sql("SELECT * FROM v_system_health"), expected_ms=15),
    Question("v_service_performance", _sql("SELECT * FROM v_service_performance"), expected_ms=25),
    Question("health", lambda pool, sample: system_health(pool), _path("health")),
    Question("performance", lambda pool, sample: service_performance(pool), _path("performance"), growth=1.5),
    Question(
        "performance of a service",
        lambda pool, sample: service_performance(pool, sample.service),
        _path("performance", service=_service),
        growth=1.5,
    ),
    Question(
        "services",
        lambda pool, sample: find_services(pool),
        _path("services"),
        growth=1.5,
    ),
    Question(
        "operations of a service",
        lambda pool, sample: find_operations(pool, sample.service),
        lambda sample: f"{_API}/services/{sample.service}/operations",
    ),
    Question("service map of an hour", lambda pool, sample: service_map(pool, 1), _path("service-map", hours=_one)),
    Question(
        "attribute search, sealed",
        lambda pool, sample: find_spans(
            pool, SpanFilter(attributes=[sample.attribute], end=Instant(sample.open_from)), limit=LIMIT
        ),
        _path("spans", attr=lambda sample: f"{CUSTOMER}={sample.customer}", to=lambda sample: _rfc(sample.open_from)),
    ),
    Question(
        "attribute search, open",
        lambda pool, sample: find_spans(
            pool, SpanFilter(attributes=[sample.attribute], start=Instant(sample.open_from)), limit=LIMIT
        ),
        _path(
            "spans",
            attr=lambda sample: f"{CUSTOMER}={sample.customer}",
            **{"from": lambda sample: _rfc(sample.open_from)},
        ),
    ),
    Question(
        "duration search",
        lambda pool, sample: find_spans(
            pool, SpanFilter(service=sample.service, min_ns=int(sample.slow_ms) * 1_000_000), limit=LIMIT
        ),
        _path("spans", service=_service, min_duration_ms=lambda sample: str(int(sample.slow_ms))),
    ),
    Question(
        "traces of a service", lambda pool, sample: find_traces(pool, TraceQuery(service=sample.service)), growth=1.5
    ),
    Question(
        "traces with a tag on any level",
        lambda pool, sample: find_traces(
            pool, TraceQuery(attributes=(Wanted(CUSTOMER, sample.customer, loose=True),), levels=LEVELS)
        ),
    ),
)
ATTRIBUTE, TRACE = "attribute search, sealed", "trace by id"
ATTRIBUTE_RATIO = 20
"""How much longer than a trace by id an attribute search over sealed partitions may take."""


async def samples_of(url: str, count: int, seed: int = 1) -> list[Sample]:
    """Samples from what the database holds: traces of any age, services by their popularity."""
    connection = await asyncpg.connect(url)
    try:
        return await _samples(connection, count, seed)
    finally:
        await connection.close()


async def _samples(connection: asyncpg.Connection, count: int, seed: int) -> list[Sample]:
    source = random.Random(seed)
    spans = await connection.fetchval(
        "SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE relname ~ '^service_spans_[0-9]+'"
    )
    percent = min(100.0, 100.0 * 50 * count / max(float(spans or 0), 1.0))
    rows = await some_spans(connection, percent)
    durations = sorted(row["duration_ms"] for row in rows)
    slow = durations[len(durations) * 99 // 100]
    customers = [row["customer"] for row in rows if row["customer"]] or ["nobody"]
    fleet = make_fleet(seed)
    now = datetime.now(UTC)
    begins = await connection.fetchval(
        "SELECT max(range_end) FROM partition_jobs WHERE sealed_at IS NOT NULL AND table_name = 'service_spans'"
    )
    return [
        Sample(
            trace_id=UUID(int=source.choice(rows)["trace_id"].int),
            service=source.choices(fleet, weights(len(fleet)))[0].name,
            customer=source.choice(customers),
            slow_ms=slow,
            hour_ago=now - timedelta(hours=1),
            open_from=begins or now - timedelta(days=1),
        )
        for _ in range(count)
    ]


async def some_spans(connection: asyncpg.Connection, percent: float) -> list[asyncpg.Record]:
    """About so many of the spans. PostgreSQL draws pages, and of a few pages it may draw none: then more is asked for.

    Raises BenchError: there are no spans at all.
    """
    while True:
        rows: list[asyncpg.Record] = await connection.fetch(
            "SELECT trace_id, duration_ms, attributes ->> 'enduser.id' AS customer FROM service_spans "
            "TABLESAMPLE SYSTEM ($1) WHERE service_name <> 'ares-api'",
            percent,
        )
        if rows:
            return rows
        if percent >= 100.0:
            raise BenchError("There are no spans to ask about.")
        percent = min(100.0, 10 * percent)
