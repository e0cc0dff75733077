"""How long a trace by its id and a search take through each door, next to the statements that it needs."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import asyncpg
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ares_otel.api.jaeger.proto import api_v3_pb2, storage_v2_pb2
from ares_otel.api.jaeger.proto.api_v3_pb2_grpc import QueryServiceStub
from ares_otel.api.jaeger.proto.storage_v2_pb2_grpc import TraceReaderStub
from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.http_client import HttpClient
from ares_otel.cli.bench.process import Running
from ares_otel.cli.bench.query import SAMPLES, SECONDS, Asker, p50, shown
from ares_otel.cli.bench.questions import Ask, Sample, samples_of
from ares_otel.cli.bench.report import Report, Row
from ares_otel.query.instant import Instant
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery
from ares_otel.query.spans import SpanFilter, find_spans
from ares_otel.query.trace_stream import stream_trace, stream_traces
from ares_otel.query.traces import find_trace

TRACES = 20
"""What Jaeger's UI asks for in a search."""
_LEAST, _WARM = 10, 3
_GRPC = [("grpc.max_receive_message_length", 64 * 1024 * 1024)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: one trace, and the latest traces with a slow span of a service."""

    sample: Sample
    start: datetime
    end: datetime

    @property
    def slow_ms(self) -> int:
        return max(1, int(self.sample.slow_ms))


class Doors:
    """Open connections to each door."""

    def __init__(self, running: Running) -> None:
        self.http = HttpClient(running.http)
        self._channel = grpc.aio.insecure_channel(running.doors["jaeger-grpc"].split("//")[-1], options=_GRPC)
        self.v3: Any = QueryServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated
        self.storage: Any = TraceReaderStub(self._channel)  # type: ignore[no-untyped-call] # generated

    async def close(self) -> None:
        await self.http.close()
        await self._channel.close(None)


Through = Callable[[Doors, Asked], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Way:
    """One line: what is asked, through which door, and what the database is asked for it."""

    what: str
    door: str
    through: Through
    ask: Callable[[Asked], Ask]


async def _get(doors: Doors, path: str) -> bytes:
    status, body = await doors.http.get(path)
    if status != 200:
        raise BenchError(f"{path} answered {status}: {body[:200].decode(errors='replace')}")
    return body


async def _drain(stream: AsyncIterator[Any]) -> int:
    count = 0
    async for _ in stream:
        count += 1
    return count


async def _count(chunks: AsyncIterator[TracesData]) -> int:
    """How many spans there are."""
    count = 0
    async for chunk in chunks:
        count += sum(len(scope.spans) for group in chunk.resource_spans for scope in group.scope_spans)
    return count


def _rest_trace(doors: Doors, asked: Asked) -> Awaitable[object]:
    return _get(doors, f"/api/v1/observability/trace/{asked.sample.trace_id.hex}")


def _rest_search(doors: Doors, asked: Asked) -> Awaitable[object]:
    query = {
        "service": asked.sample.service,
        "min_duration_ms": asked.slow_ms,
        "from": _rfc(asked.start),
        "to": _rfc(asked.end),
        "limit": TRACES,
    }
    return _get(doors, f"/api/v1/observability/spans?{urlencode(query)}")


def _v1_trace(doors: Doors, asked: Asked) -> Awaitable[object]:
    return _get(doors, f"/jaeger/api/traces/{asked.sample.trace_id.hex}")


def _v1_search(doors: Doors, asked: Asked) -> Awaitable[object]:
    query = {
        "service": asked.sample.service,
        "minDuration": f"{asked.slow_ms}ms",
        "start": _micros(asked.start),
        "end": _micros(asked.end),
        "limit": TRACES,
    }
    return _get(doors, f"/jaeger/api/traces?{urlencode(query)}")


def _v3_http_trace(doors: Doors, asked: Asked) -> Awaitable[object]:
    return _get(doors, f"/jaeger/api/v3/traces/{asked.sample.trace_id.hex}")


def _v3_http_search(doors: Doors, asked: Asked) -> Awaitable[object]:
    query = {
        "query.service_name": asked.sample.service,
        "query.duration_min": f"{asked.slow_ms}ms",
        "query.start_time_min": _rfc(asked.start),
        "query.start_time_max": _rfc(asked.end),
        "query.search_depth": TRACES,
    }
    return _get(doors, f"/jaeger/api/v3/traces?{urlencode(query)}")


def _v3_grpc_trace(doors: Doors, asked: Asked) -> Awaitable[object]:
    return _drain(doors.v3.GetTrace(api_v3_pb2.GetTraceRequest(trace_id=asked.sample.trace_id.hex)))


def _v3_grpc_search(doors: Doors, asked: Asked) -> Awaitable[object]:
    query = api_v3_pb2.TraceQueryParameters(**_parameters(asked))
    return _drain(doors.v3.FindTraces(api_v3_pb2.FindTracesRequest(query=query)))


def _storage_trace(doors: Doors, asked: Asked) -> Awaitable[object]:
    wanted = storage_v2_pb2.GetTraceParams(trace_id=asked.sample.trace_id.bytes)
    return _drain(doors.storage.GetTraces(storage_v2_pb2.GetTracesRequest(query=[wanted])))


def _storage_search(doors: Doors, asked: Asked) -> Awaitable[object]:
    query = storage_v2_pb2.TraceQueryParameters(**_parameters(asked))
    return _drain(doors.storage.FindTraces(storage_v2_pb2.FindTracesRequest(query=query)))


def _parameters(asked: Asked) -> dict[str, Any]:
    start, end, least = Timestamp(), Timestamp(), Duration()
    start.FromDatetime(asked.start)
    end.FromDatetime(asked.end)
    least.FromMilliseconds(asked.slow_ms)
    return {
        "service_name": asked.sample.service,
        "start_time_min": start,
        "start_time_max": end,
        "duration_min": least,
        "search_depth": TRACES,
    }


def _sql_rest_trace(asked: Asked) -> Ask:
    return lambda pool, sample: find_trace(pool, sample.trace_id)


def _sql_rest_search(asked: Asked) -> Ask:
    wanted = SpanFilter(
        service=asked.sample.service,
        min_ns=asked.slow_ms * 1_000_000,
        start=Instant(asked.start),
        end=Instant(asked.end),
    )
    return lambda pool, sample: find_spans(pool, wanted, limit=TRACES)


def _sql_trace(asked: Asked) -> Ask:
    async def ask(pool: asyncpg.Pool, sample: Sample) -> object:
        async with aclosing(stream_trace(pool, sample.trace_id)) as chunks:
            return await _count(chunks)

    return ask


def _sql_search(asked: Asked) -> Ask:
    query = TraceQuery(
        service=asked.sample.service,
        min_ns=asked.slow_ms * 1_000_000,
        start=Instant(asked.start),
        end=Instant(asked.end),
        limit=TRACES,
    )

    async def ask(pool: asyncpg.Pool, sample: Sample) -> object:
        async with aclosing(stream_traces(pool, await find_traces(pool, query))) as chunks:
            return await _count(chunks)

    return ask


_TRACE, _SEARCH = "trace by id", f"search for {TRACES} traces"
WAYS: tuple[Way, ...] = (
    Way(_TRACE, "REST", _rest_trace, _sql_rest_trace),
    Way(_TRACE, "Jaeger HTTP v1", _v1_trace, _sql_trace),
    Way(_TRACE, "Jaeger HTTP v3", _v3_http_trace, _sql_trace),
    Way(_TRACE, "Jaeger gRPC v3", _v3_grpc_trace, _sql_trace),
    Way(_TRACE, "storage v2", _storage_trace, _sql_trace),
    Way(f"search for {TRACES} spans", "REST", _rest_search, _sql_rest_search),
    Way(_SEARCH, "Jaeger HTTP v1", _v1_search, _sql_search),
    Way(_SEARCH, "Jaeger HTTP v3", _v3_http_search, _sql_search),
    Way(_SEARCH, "Jaeger gRPC v3", _v3_grpc_search, _sql_search),
    Way(_SEARCH, "storage v2", _storage_search, _sql_search),
)


@dataclass(slots=True)
class _Times:
    """Milliseconds."""

    sql: list[float] = field(default_factory=list)
    door: list[float] = field(default_factory=list)
    spent: float = 0.0


async def measure_doors(
    report: Report, running: Running, spans: int, hours: int, *, most: int = SAMPLES, ways: Sequence[Way] = WAYS
) -> None:
    """Adds a line for each way, and the ratio of what it takes to the time of its statements.

    All ways for one sample, in an order that changes, then for the next one: what else the machine does meanwhile, and
    what the first reading leaves in memory, hits all alike.
    """
    samples = await samples_of(running.database, most, seed=2)
    end = datetime.now(UTC)
    report.add(Row(f"what is asked of the doors, {spans:,} spans", await _sizes(running, samples, end, hours)))
    asker, doors, order = Asker(), Doors(running), random.Random(1)
    await asker.open(running.database)
    times = {way: _Times() for way in ways}
    try:
        for number, sample in enumerate(samples):
            asked = Asked(sample, end - timedelta(hours=hours), end)
            for way in order.sample(list(ways), len(ways)):
                mine = times[way]
                if mine.spent < SECONDS or number < _LEAST + _WARM:
                    await _ask(way, asked, asker, doors, mine, counts=number >= _WARM)
    finally:
        await asker.close()
        await doors.close()
    # Ways that ask the database for the same share its times: they were taken in turns.
    sql = {way.ask: [one for other in times if other.ask is way.ask for one in times[other].sql] for way in times}
    for way, mine in times.items():
        name = f"{way.what} through {way.door}, {spans:,} spans"
        report.add(Row(f"{name}, p50 / p95", f"SQL {shown(sql[way.ask])}, door {shown(mine.door)}"))
    for way, mine in times.items():
        report.ratio(f"door ÷ SQL, {way.what} through {way.door}, {spans:,} spans", p50(mine.door) / p50(sql[way.ask]))


async def _sizes(running: Running, samples: Sequence[Sample], end: datetime, hours: int) -> str:
    """How much a trace and a search are, in the middle."""
    traces: list[float] = []
    searches: list[float] = []
    async with asyncpg.create_pool(running.database, min_size=1, max_size=4) as pool:
        for sample in samples[:_LEAST]:
            asked = Asked(sample, end - timedelta(hours=hours), end)
            for sizes, ask in ((traces, _sql_trace(asked)), (searches, _sql_search(asked))):
                count = await ask(pool, sample)
                assert isinstance(count, int)
                sizes.append(count)
    return f"a trace has {p50(traces):,.0f} spans, and what a search finds has {p50(searches):,.0f}, in the middle"


async def _ask(way: Way, asked: Asked, asker: Asker, doors: Doors, times: _Times, *, counts: bool) -> None:
    started = time.perf_counter()
    sql = await asker.ask(way.ask(asked), asked.sample)
    began = time.perf_counter()
    await way.through(doors, asked)
    took = (time.perf_counter() - began) * 1000
    if counts:
        times.sql.append(sql)
        times.door.append(took)
    times.spent += time.perf_counter() - started


def _rfc(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _micros(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
