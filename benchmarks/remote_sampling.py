"""What remote sampling costs: `python -m benchmarks.remote_sampling`, on a server of its own without durability.

Prints how long an answer takes out of memory, and a round of adaptive sampling over a service that has sent 10,000
spans a second for two minutes (a tenth of them roots, of 50 operations), looking at as many spans as it does and at
all.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median

import asyncpg

from ares_otel.api.sampling.servicer import message_of
from ares_otel.control.sampling.adaptive import MOST_SPANS, AdaptiveSampling
from ares_otel.control.sampling.observer import SilentSamplingObserver
from tests.support.postgres import copied_database, shared_server
from tests.support.sampling import Place, put, sampling_place

RATE, SECONDS = 10_000, 120
SPANS = """
INSERT INTO service_spans (trace_id, span_id, parent_span_id, service_name, operation_name, kind, start_time,
                           duration_ms, duration_ns, attributes, received_at)
SELECT md5((n / 10)::text)::uuid, decode(lpad(to_hex(n), 16, '0'), 'hex'),
       CASE WHEN n % 10 > 0 THEN decode(lpad(to_hex(n - 1), 16, '0'), 'hex') END, 'busy', 'operation ' || n / 10 % 50,
       'server', $1::timestamptz + n * $2::interval, 5, 5000000,
       '{"http.request.method": "GET", "url.path": "/api/things/17", "http.response.status_code": 200}',
       $1::timestamptz + n * $2::interval + interval '3 seconds'
FROM generate_series(0, $3::bigint - 1) n
"""


class Timed(SilentSamplingObserver):
    """Keeps the seconds of each round."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def counted(self, services: int, operations: int, seconds: float) -> None:
        self.seconds.append(seconds)


class At:
    """A clock that says a time of day, and measures as the machine does."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def time_ns(self) -> int:
        return int(self._moment.timestamp() * 1e9)

    def monotonic(self) -> float:
        return time.monotonic()


async def answer(place: Place, sql: asyncpg.Connection) -> None:
    """The time of an answer as gRPC gives it."""
    await place.set("ratio", ratio=0.5)
    await place.set("rules", rules=[{"operation": "GET *", "ratio": 0.5}])
    await sql.execute(
        "INSERT INTO service_operations (service_name, operation_name, kind, first_seen, last_seen) "
        "SELECT 'rules', 'GET /' || n, 'server', now(), now() FROM generate_series(1, 2000) n"
    )
    for service, what in (("nobody", "nothing set"), ("ratio", "a ratio"), ("rules", "2,000 operations")):
        await place.strategies.sampling_strategy(service)
        began = time.perf_counter()
        for _ in range(10_000):
            message_of(await place.strategies.sampling_strategy(service))
        print(f"an answer, {what}: {(time.perf_counter() - began) * 100:.1f} µs")


async def rounds(url: str, place: Place, sql: asyncpg.Connection) -> None:
    """The time of a round."""
    end = datetime.now(UTC)
    start = end - timedelta(seconds=SECONDS)
    await sql.execute(SPANS, start, timedelta(seconds=1 / RATE), RATE * SECONDS, timeout=600)
    await sql.execute("ANALYZE service_spans")
    await place.set("busy", target_traces_per_second=1)
    for most in (MOST_SPANS, RATE * SECONDS):
        timed = Timed()
        for _ in range(5):
            job = AdaptiveSampling(
                partial(asyncpg.connect, url), place.settings, observer=timed, clock=At(end), most_spans=most
            )
            await job.run()
        print(f"a round that looks at {most:,} spans at most: {median(timed.seconds) * 1000:.0f} ms")


async def main(url: str) -> None:
    sql = await asyncpg.connect(url)
    async with sampling_place(url) as place:
        await answer(place, sql)
        await put(sql, "rules", "sampling.rules", None)
        await rounds(url, place, sql)
    await sql.close()


if __name__ == "__main__":
    with shared_server() as server, copied_database(server) as database:
        asyncio.run(main(database))
