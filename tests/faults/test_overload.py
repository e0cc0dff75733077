"""More than the database takes, and more than memory holds: refused at once, bounded, and what was accepted is stored.

The long form, with its table, is `python -m benchmarks.overload`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from pathlib import Path

import asyncpg
import httpx

from benchmarks.overload import Load, bound_mib, overload, peak_rss, slow_down
from tests.support.ares_process import AresProcess, running_ares
from tests.support.otlp_receiver import PROTOBUF, http_status
from tests.support.otlp_samples import span, trace_request

BODIES = 200


def place(url: str) -> str:
    """host:port of a URL."""
    return url.rstrip("/").rpartition("/")[2]


async def test_ten_times_the_sustainable_load_is_refused_at_once_within_a_memory_bound_and_what_is_accepted_is_stored(
    tmp_path: Path, database_url: str
) -> None:
    load = Load(sustain_seconds=4.0, overload_seconds=6.0)
    with running_ares(tmp_path, "--database-url", database_url, "--admission-limit-mib", "32") as ares:
        await slow_down(database_url, 0.001)
        result = await overload(ares.pid, place(ares.otlp_grpc), place(ares.otlp_http), database_url, load)
    assert (result.missing, result.doubled) == (0, 0)
    assert result.accepted > 0
    assert result.refused > result.accepted
    assert not result.others, "every answer is OK, or UNAVAILABLE with RetryInfo, or 503 with Retry-After"
    assert result.peak_rss < bound_mib(32)


async def test_f21_bodies_of_20_mib_by_the_hundred_are_refused_by_the_byte_budget_and_memory_stays_bounded(
    tmp_path: Path, database_url: str
) -> None:
    """4 GiB at once, in gzip bodies of 30 KiB, while the database is slow."""
    body = trace_request(service="f21", spans=[span(name="x" * 200_000) for _ in range(100)]).SerializeToString()
    packer = zlib.compressobj(wbits=31)
    head = packer.compress(body) + packer.flush(zlib.Z_FULL_FLUSH)
    codes: Counter[int] = Counter()
    with running_ares(tmp_path, "--database-url", database_url, "--admission-limit-mib", "192") as ares:
        await slow_down(database_url, 0.02)
        headers = {"content-type": PROTOBUF, "content-encoding": "gzip"}

        async def send(client: httpx.AsyncClient, number: int) -> None:
            rest = packer.copy()  # an empty resource at the end makes each request a different one
            tail = rest.compress(trace_request(service=f"f21-{number}", spans=0).SerializeToString()) + rest.flush()
            answer = await client.post(f"{ares.otlp_http}/v1/traces", content=head + tail, headers=headers)
            codes[answer.status_code] += 1
            if answer.status_code == 503:
                http_status(answer)
            if codes[503] == 100:
                assert await alive(ares)

        limits = httpx.Limits(max_connections=BODIES)
        async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:
            await asyncio.gather(*(send(client, number) for number in range(BODIES)))
        peak = peak_rss(ares.pid)
    connection = await asyncpg.connect(database_url)
    stored = await connection.fetchval("SELECT count(*) FROM service_spans WHERE service_name = 'f21'")
    await connection.close()
    assert codes.keys() == {200, 503}
    assert stored == 100 * codes[200]
    assert peak < bound_mib(192)


async def alive(ares: AresProcess) -> bool:
    """Whether the API door answers while the OTLP doors are full."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return (await client.get(f"{ares.http}/healthz")).status_code == 200
