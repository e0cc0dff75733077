"""How long the questions take with so many spans: in the database alone, and through the API."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import quantiles

import asyncpg

from ares_otel.cli import console
from ares_otel.cli.bench.errors import BenchError
from ares_otel.cli.bench.http_client import HttpClient
from ares_otel.cli.bench.process import Running
from ares_otel.cli.bench.questions import (
    ATTRIBUTE,
    ATTRIBUTE_RATIO,
    QUESTIONS,
    TRACE,
    Ask,
    Question,
    Sample,
    samples_of,
)
from ares_otel.cli.bench.report import Report, Row

SAMPLES = 200
SECONDS = 4.0
"""For one question; what takes long is asked less often, but twenty times at least where that takes no minute."""
_LEAST, _MOST_SECONDS = 20, 60.0
_WARM = 3


@dataclass(slots=True)
class Times:
    """Milliseconds of one question."""

    sql: list[float] = field(default_factory=list)
    api: list[float] = field(default_factory=list)
    spent: float = 0.0
    """Seconds in all."""
    without_api: bool = False
    """Whether the Ares that is measured does not answer it over the API."""


Answers = dict[str, Times]
"""By the question's name."""


class Asker:
    """Asks the database as Ares does and adds up how long its statements took."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._pool: asyncpg.Pool | None = None

    async def open(self, url: str) -> None:
        async def listen(connection: asyncpg.Connection) -> None:
            connection.add_query_logger(self._on_query)

        self._pool = await asyncpg.create_pool(url, min_size=1, max_size=4, init=listen)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def ask(self, ask: Ask, sample: Sample) -> float:
        """Milliseconds of the statements that read; what the pool does around them is Ares's own time."""
        assert self._pool is not None
        self._elapsed = 0.0
        await ask(self._pool, sample)
        return self._elapsed * 1000

    def _on_query(self, query: asyncpg.connection.LoggedQuery) -> None:
        if query.query.lstrip().upper().startswith(("SELECT", "WITH")):
            self._elapsed += query.elapsed


async def ask_all(running: Running, *, most: int = SAMPLES) -> Answers:
    """Every question about many samples (at most `most`), the database and the API in turns."""
    samples = await samples_of(running.database, most)
    asker, client = Asker(), HttpClient(running.http)
    await asker.open(running.database)
    answers = {question.name: Times() for question in QUESTIONS}
    try:
        # All questions about one sample, then about the next: what else the machine does meanwhile hits all alike.
        for number, sample in enumerate(samples):
            for question in QUESTIONS:
                times = answers[question.name]
                if times.spent < SECONDS or (number < _LEAST and times.spent < _MOST_SECONDS) or number <= _WARM:
                    await _ask(question, sample, asker, client, times, counts=number >= _WARM)
    finally:
        await asker.close()
        await client.close()
    return answers


async def _ask(
    question: Question, sample: Sample, asker: Asker, client: HttpClient, times: Times, *, counts: bool
) -> None:
    started = time.perf_counter()
    taken = await asker.ask(question.ask, sample)
    if counts:
        times.sql.append(taken)
    if question.path is not None and not times.without_api:
        path = question.path(sample)
        asked = time.perf_counter()
        status, _ = await client.get(path)
        if counts:
            times.api.append((time.perf_counter() - asked) * 1000)
        if status == 404 and not counts and "/trace/" not in path:
            console.progress(f"this version of Ares has no {path.partition('?')[0]}")
            times.without_api = True
        elif status != 200:
            raise BenchError(f"{path} answered {status}.")
    times.spent += time.perf_counter() - started


def report_answers(report: Report, spans: int, answers: Answers, base: Answers, base_spans: int) -> None:
    """The lines of one size. `base`: the answers with the fewest spans; empty for those themselves."""
    for question in QUESTIONS:
        times = answers[question.name]
        goal = f"there {question.expected_ms} ms" if question.expected_ms else ""
        figure = f"SQL {shown(times.sql)}" + (f", API {shown(times.api)}" if times.api else "")
        report.add(Row(f"{question.name}, {spans:,} spans, p50 / p95", figure, goal=goal))
    for question in QUESTIONS:
        times = answers[question.name]
        if times.api:
            median, bound = p50(times.api), 2 * p50(times.sql) + 2
            report.ratio(f"API ÷ (2 × SQL + 2 ms), {question.name}, {spans:,} spans", median / bound, goal="≤ 1")
    ratio = p50(answers[ATTRIBUTE].sql) / p50(answers[TRACE].sql)
    report.ratio(f"{ATTRIBUTE} ÷ {TRACE}, {spans:,} spans", ratio, goal=f"≤ {ATTRIBUTE_RATIO}")
    for question in QUESTIONS if base else ():
        mine, theirs = answers[question.name], base[question.name]
        growth = p50(mine.sql) / p50(theirs.sql)
        over = f" (API {p50(mine.api) / p50(theirs.api):.2f})" if mine.api and theirs.api else ""
        goal = f"≤ {question.growth}" if question.growth else ""
        report.ratio(f"growth of {question.name}{over}, {base_spans:,} → {spans:,} spans", growth, goal=goal)


def shown(times: list[float]) -> str:
    """The median and the 95th percentile."""
    return f"{p50(times):.2f} / {_percentile(times, 95):.2f} ms"


def p50(times: list[float]) -> float:
    """The median."""
    return _percentile(times, 50)


def _percentile(times: list[float], percent: int) -> float:
    return times[0] if len(times) == 1 else quantiles(times, n=100, method="inclusive")[percent - 1]
