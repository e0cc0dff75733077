"""Random matchers over random label sets: the index finds what a plain reading of Prometheus's rules says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ares_otel.model.prometheus.selector import InvalidSelector, parse_selector
from ares_otel.model.prometheus.verbatim import SCOPE_NAME
from ares_otel.query.prometheus import index
from ares_otel.query.prometheus.indexing import catch_up
from ares_otel.query.reader import reading
from tests.support.stored_rows import insert

SCOPE = UUID(int=99)
METRICS = ("up", "größe.gesamt", "a", "ab")
NAMES = ("job", "le", "quantile", "größe", "a.b", 'q"uo\\te', "a")
VALUES = ("", "a", "b", "ab", "a.b", "a|b", "ünï", "x" * 300, "x" * 300 + "y", "10", "1", "A", "a\nb", "(a)")
PATTERNS = (
    *("", "a", "a|b", "(a|ab)", "a.*", ".*b", "a.b", "a\\.b", ".+", ".*", "[ab]+", "x+", "x{10}.*y", "(?i)a", "a?"),
    *("a*", "|a", "a|", "ü.*", "a\\|b", "ab?", "^a", "a$", "a(b|c)?", "\\d+", "(a)", "\\(a\\)", "x" * 250 + ".*"),
    *("(?s).*b", "[^a].*"),
)
Labels = dict[str, str]
Condition = tuple[str, str, str]

populations = st.lists(
    st.tuples(st.sampled_from(METRICS), st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=4)),
    min_size=1,
    max_size=15,
)
asked_names = st.sampled_from(("__name__", *NAMES, "none"))
conditions = st.one_of(
    st.tuples(asked_names, st.sampled_from(("=", "!=")), st.sampled_from((*VALUES, *METRICS))),
    st.tuples(asked_names, st.sampled_from(("=~", "!~")), st.sampled_from(PATTERNS)),
)
questions = st.lists(st.lists(conditions, min_size=1, max_size=4), min_size=1, max_size=3)


def holds(labels: Labels, condition: Condition) -> bool:
    """Prometheus's rule: a label that is missing is empty, expressions match the whole value."""
    name, operator, wanted = condition
    value = labels.get(name, "")
    if operator in ("=", "!="):
        return (value == wanted) == (operator == "=")
    # A dollar of Python also stands before a line break at the end; of no value here that ends in one.
    return (re.fullmatch(wanted, value, re.DOTALL | re.ASCII) is not None) == (operator == "=~")


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def selector(matchers: Sequence[Condition]) -> str:
    return "{" + ",".join(f"{quoted(name)}{operator}{quoted(value)}" for name, operator, value in matchers) + "}"


async def find(
    url: str, population: Sequence[tuple[str, Labels]], asked: Sequence[Sequence[str]]
) -> list[list[Labels]]:
    """What each list of selectors finds."""
    pool = await asyncpg.create_pool(url, min_size=1, max_size=1)
    async with pool:
        for table in ("metric_series", "prometheus_series", "prometheus_labels", "otel_scopes"):
            await pool.execute(f"DELETE FROM {table}")
        async with pool.acquire() as connection:
            await insert(connection, "otel_scopes", scope_id=SCOPE, name=SCOPE_NAME)
            for number, (name, labels) in enumerate(population):
                await insert(
                    connection,
                    "metric_series",
                    series_id=UUID(int=number),
                    service_name="",
                    metric_name=name,
                    metric_type="gauge",
                    labels=labels,
                    scope_id=SCOPE,
                    first_seen=datetime.now(UTC),
                )
        async with reading(pool) as reader:
            await catch_up(reader)
            found: list[list[Labels]] = []
            for texts in asked:
                pages = index.entries(reader, [parse_selector(text) for text in texts])
                found.append([dict(entry.labels) async for page in pages for entry in page])
    return found


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@example([("up", {})], [[[("__name__", "!=", ""), ("__name__", "=~", "")]]], 1)
@given(populations, st.lists(questions, min_size=1, max_size=8), st.sampled_from((1, 2, 100)))
def test_the_index_finds_what_a_plain_reading_of_the_matchers_says(
    module_database_url: str, population: list[tuple[str, Labels]], asked: list[list[list[Condition]]], many: int
) -> None:
    texts = [[selector(matchers) for matchers in question] for question in asked]
    try:
        [parse_selector(text) for question in texts for text in question]
    except InvalidSelector:
        assume(False)
    whole = [
        {name: value for name, value in {**labels, "__name__": metric}.items() if value}
        for metric, labels in population
    ]
    before = index.MANY, index.LONG
    index.MANY, index.LONG = many, many + 1  # also the ways of long lists
    try:
        found = asyncio.run(find(module_database_url, population, texts))
    finally:
        index.MANY, index.LONG = before
    for question, answer in zip(asked, found, strict=True):
        expected = [
            labels
            for labels in whole
            if any(all(holds(labels, condition) for condition in matchers) for matchers in question)
        ]
        assert sorted(answer, key=str_of) == sorted(expected, key=str_of)


def str_of(labels: Labels) -> str:
    return str(sorted(labels.items()))
