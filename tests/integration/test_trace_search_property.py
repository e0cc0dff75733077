"""Random filters over random spans: what SQL finds is what a plain reading of the OTLP messages says."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import LEVELS, Attribute, Call, Field, Nested, Scalar, Values
from ares_otel.query.search.fields import FIELDS, Holds
from ares_otel.query.search.find import find_traces
from ares_otel.query.search.query import TraceQuery, Wanted
from ares_otel.storage.partitions import read_windows
from tests.support.debian_postgres import needs_debian_postgres
from tests.support.encoders import encode_batch
from tests.support.otlp_samples import any_value, batch_of, pairs
from tests.support.postgres import copied_database
from tests.support.rows_store import store
from tests.support.search_reference import Seen, holds, same

NOW = time.time_ns()
SINCE = Instant.from_ns(NOW - 120 * 10**9)
SPANS = 150
KEYS = ("a", "b.c", 'q"uo\\te', "100%_", "ключ", "{k}", "a\0b", "")
TEXTS = ("", "5", "5.0", "true", "x", "X y", "%", "it's", "ünï", '{"a": 1}', "a\0b", "NaN", "AQI=", "[1]", "zz\nx")
NUMBERS: tuple[Any, ...] = (0, 1, 5, -7, 2**53 + 1, 2**62 + 1, 2**63 - 1, -(2**63), 10**16, 10**16 + 1)
DOUBLES: tuple[float, ...] = (0.0, -0.0, 1.0, 5.0, 0.1, -7.5, 1e16, 1e22, 2.0**62, 1.2345678901234568e18, 5e-324, 1e300)
DOUBLES += (float("nan"), float("inf"), float("-inf"), 9007199254740993.0, 123456.789)
OTHERS: tuple[Any, ...] = (
    b"\x01\x02",
    b"",
    [1, "x"],
    [1.0, True],
    [b"\x01\x02"],
    ["AQI="],
    {"k": 1, "j": "x"},
    None,
    [],
)
VALUES: tuple[Any, ...] = (True, False, *TEXTS, *NUMBERS, *DOUBLES, *OTHERS)
NAMES = ("GET /", "get /cart", "it's 100%", "ünï", "")
FAST = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def corpus(seed: int) -> tuple[ExportTraceServiceRequest, list[Seen]]:
    """A request of spans, each a trace of its own, that differ in everything."""
    made = random.Random(seed)
    request, seen = ExportTraceServiceRequest(), []

    def attributes() -> Any:
        return pairs({made.choice(KEYS[:-1]): made.choice(VALUES) for _ in range(made.choice((0, 1, 2, 4)))})

    for _ in range(8):
        resource = Resource(attributes=attributes())
        if made.random() < 0.7:
            resource.attributes.add(key="service.name", value=any_value(made.choice(("orders", "it's", "ünï"))))
        envelope = ResourceSpans(resource=resource, schema_url=made.choice(("", "https://x/1")))
        for _ in range(2):
            scope = InstrumentationScope(
                name=made.choice(("", "lib", "x")), version=made.choice(("", "1.0")), attributes=attributes()
            )
            group = ScopeSpans(scope=scope, schema_url=made.choice(("", "https://x/2")))
            for _ in range(SPANS // 16):
                group.spans.append(_span(made, attributes))
            envelope.scope_spans.append(group)
        request.resource_spans.append(envelope)
    for one in request.resource_spans:
        for group in one.scope_spans:
            seen += [Seen(one.resource, group.scope, span, (one.schema_url, group.schema_url)) for span in group.spans]
    return request, seen


def _span(made: random.Random, attributes: Any) -> Span:
    start = NOW - made.randrange(60 * 10**9)
    span = Span(
        trace_id=made.randbytes(16),
        span_id=made.randbytes(8),
        parent_span_id=made.choice((b"", b"\1" * 8)),
        trace_state=made.choice(("", "k=v")),
        name=made.choice(NAMES),
        kind=made.randrange(6),  # type: ignore[arg-type] # open enum
        start_time_unix_nano=start,
        end_time_unix_nano=start + made.choice((-5, 0, 1, 1000, 10**9, 10**9 + 1)),
        flags=made.choice((0, 1, 257)),
        attributes=attributes(),
    )
    if made.random() < 0.8:
        code, message = made.randrange(3), made.choice(("", "boom", "it's"))
        span.status.CopyFrom(Status(code=code, message=message))  # type: ignore[arg-type] # open enum
    if made.random() < 0.1:  # outside every partition: filed under the time of its arrival
        span.start_time_unix_nano, span.end_time_unix_nano = 1000, 2000
    for _ in range(made.choice((0, 0, 1, 3))):
        offset = made.choice((-1, 0, 1000, 10**9))
        span.events.add(name=made.choice(NAMES), time_unix_nano=max(0, start + offset), attributes=attributes())
    for _ in range(made.choice((0, 0, 1, 2))):
        span.links.add(
            trace_id=made.choice((b"\1" * 16, b"\2" * 16)),
            span_id=b"\3" * 8,
            trace_state=made.choice(("", "k=v")),
            attributes=attributes(),
        )
    return span


class Stored:
    """A database with a corpus in it."""

    def __init__(self, runner: asyncio.Runner, pool: asyncpg.Pool, seen: list[Seen]) -> None:
        self._runner, self._pool, self.seen = runner, pool, seen

    def find(self, query: TraceQuery) -> set[str]:
        """The trace ids that a search finds."""
        found = self._runner.run(find_traces(self._pool, query))
        assert found.complete
        ids = [trace.trace_id.hex for trace in found]
        assert len(set(ids)) == len(ids)
        return set(ids)


@contextmanager
def _opened(database_url: str, seed: int) -> Iterator[Stored]:
    request, seen = corpus(seed)
    with asyncio.Runner() as runner:

        async def opened() -> asyncpg.Pool:
            pool = await asyncpg.create_pool(
                database_url, min_size=1, max_size=2, server_settings={"plan_cache_mode": "force_custom_plan"}
            )
            async with pool.acquire() as connection:
                await store(connection, encode_batch(batch_of(request), await read_windows(connection)))
            return pool

        pool = runner.run(opened())
        try:
            yield Stored(runner, pool, seen)
        finally:
            runner.run(pool.close())


_SERVERS = ("postgres_server", pytest.param("debian_server_url", id="postgresql-15", marks=needs_debian_postgres))


@pytest.fixture(scope="module", params=_SERVERS)
def stored(request: pytest.FixtureRequest) -> Iterator[Stored]:
    """A corpus on each of the servers that Ares runs on."""
    server = request.getfixturevalue(request.param)
    with copied_database(server) as url, _opened(url, len(request.param)) as opened:
        yield opened


_LEVELS = ("", *LEVELS)
attributes_ = st.builds(Attribute, st.sampled_from(KEYS[:-1]), st.sampled_from(_LEVELS))
fields_ = st.sampled_from(sorted(FIELDS)).map(lambda pair: Field(pair[1], pair[0]))
_TEXT_OF = {True: "true", False: "false"}


def _text(value: Any) -> str:
    return _TEXT_OF[value] if isinstance(value, bool) else str(value)


_scalars = st.one_of(
    st.sampled_from(TEXTS).map(lambda text: Scalar(text, "string")),
    st.sampled_from(NUMBERS).map(lambda number: Scalar(str(number), "int")),
    st.sampled_from((*NUMBERS, *DOUBLES)).map(lambda number: Scalar(str(number), "double")),
    st.sampled_from(("true", "false", "1", "F")).map(lambda text: Scalar(text, "bool")),
    st.sampled_from((*TEXTS, *map(_text, (*NUMBERS, *DOUBLES, True)), "1", "t", "4.5", "1e2", "inf")).map(Scalar),
)
_lists = st.one_of(
    st.lists(st.sampled_from(TEXTS), max_size=4).map(lambda texts: Values(tuple(texts), "string")),
    st.lists(st.sampled_from(NUMBERS).map(str), max_size=4).map(lambda texts: Values(tuple(texts), "int")),
    st.lists(st.sampled_from(DOUBLES).map(str), max_size=4).map(lambda texts: Values(tuple(texts), "double")),
    st.lists(st.sampled_from(("true", "0")), max_size=2).map(lambda texts: Values(tuple(texts), "bool")),
    st.lists(st.sampled_from((*TEXTS, *map(_text, VALUES[:40]))), max_size=4).map(lambda texts: Values(tuple(texts))),
)
_patterns = st.sampled_from(("x", "^x", "5$", "", "i.*s", "(?i)x Y", "ü", r"\d", "[^a]", r"\bx", "a|T", "\ufffd"))


def _constants_of(field: Field) -> st.SearchStrategy[str]:
    holds_ = FIELDS[field.level, field.name].holds
    words = {
        Holds.KIND: ("server", "client", "unspecified"),
        Holds.STATUS: ("ok", "error", "UNSET"),
        Holds.ID: ("01" * 16, "03" * 8, "01" * 8, "xyz"),
        Holds.TEXT: (*NAMES, "orders", "unknown_service", "lib", "1.0", "https://x/1", "k=v", "boom"),
        Holds.DURATION: ("0", "1000", "1000000000", "-1"),
        Holds.INSTANT: (str(NOW - 30 * 10**9), "1000"),
        Holds.NUMBER: ("0", "1", "257"),
    }
    return st.sampled_from(words[holds_])


@st.composite
def leaves(draw: st.DrawFn) -> Call:
    """A condition about one or two references."""
    if draw(st.booleans()):
        reference: Any = draw(attributes_)
        op = draw(st.sampled_from(("eq", "ne", "gt", "gte", "lt", "lte", "regex", "exists", "in", "not_in", "pair")))
        if op == "exists":
            return Call(op, (reference,))
        if op == "regex":
            return Call(op, (reference, Scalar(draw(_patterns), draw(st.sampled_from(("", "string"))))))
        if op in ("in", "not_in"):
            return Call(op, (reference, draw(_lists)))
        if op == "pair":
            other = draw(st.one_of(attributes_, fields_.filter(lambda field: field.name not in ("kind", "status"))))
            return Call(draw(st.sampled_from(("eq", "ne", "gt", "lte"))), (reference, other))
        constant = draw(_scalars.filter(lambda scalar: op in ("eq", "ne") or scalar.type != "bool"))
        return (
            Call(op, (reference, constant) if draw(st.booleans()) else _swapped(op, reference, constant))
            if (op in ("eq", "ne"))
            else Call(op, (reference, constant))
        )
    field = draw(fields_)
    holds_ = FIELDS[field.level, field.name].holds
    ops = ["eq", "ne", "exists", "in", "not_in"]
    ops += [] if holds_ in (Holds.KIND, Holds.STATUS) else ["gt", "gte", "lt", "lte"]
    ops += ["regex"] if holds_ in (Holds.KIND, Holds.STATUS, Holds.ID, Holds.TEXT) else []
    op = draw(st.sampled_from(ops))
    if op == "exists":
        return Call(op, (field,))
    if op == "regex":
        return Call(op, (field, Scalar(draw(_patterns))))
    if op in ("in", "not_in"):
        return Call(op, (field, Values(tuple(draw(st.lists(_constants_of(field), max_size=3))))))
    return Call(op, (field, Scalar(draw(_constants_of(field)))))


def _swapped(op: str, reference: Any, constant: Scalar) -> tuple[Any, Any]:
    return constant, reference


def filters(bound: tuple[str, ...] = (), depth: int = 3) -> st.SearchStrategy[Call]:
    """Conditions, and conditions of conditions."""
    if not depth:
        return leaves()
    inner = filters(bound, depth - 1)
    ways = [
        leaves(),
        st.lists(inner, min_size=1, max_size=3).map(lambda args: Call("and", tuple(args))),
        st.lists(inner, min_size=1, max_size=3).map(lambda args: Call("or", tuple(args))),
        inner.map(lambda arg: Call("not", (arg,))),
    ]
    for level in ("event", "link"):
        if level not in bound:
            some = filters((*bound, level), depth - 1)
            ways.append(some.map(lambda arg, level=level: Call("some", (Nested(level), arg))))  # type: ignore[misc]
    return st.one_of(ways)


@FAST
@given(filter_=filters())
def test_a_filter_finds_what_its_meaning_says(stored: Stored, filter_: Call) -> None:
    expected = {seen.span.trace_id.hex() for seen in stored.seen if holds(filter_, seen)}
    assert stored.find(TraceQuery(filter=filter_, limit=SPANS, start=SINCE)) == expected


@settings(FAST, max_examples=25)
@given(
    key=st.sampled_from(KEYS[:-1]),
    value=st.sampled_from([value for value in VALUES if value is not None]),
    levels=st.lists(st.sampled_from(LEVELS), min_size=1, unique=True).map(tuple),
)
def test_a_wanted_value_is_found_at_its_levels_to_the_type(
    stored: Stored, key: str, value: Any, levels: tuple[str, ...]
) -> None:
    def at(seen: Seen) -> list[Any]:
        lists: dict[str, list[Any]] = {"span": [seen.span], "resource": [seen.resource], "scope": [seen.scope]}
        lists |= {"event": list(seen.span.events), "link": list(seen.span.links)}
        return [pair for level in levels for holder in lists[level] for pair in holder.attributes if pair.key == key]

    expected = {s.span.trace_id.hex() for s in stored.seen if any(same(value, pair.value) for pair in at(s))}
    query = TraceQuery(attributes=(Wanted(key, value),), levels=levels, limit=SPANS, start=SINCE)
    assert stored.find(query) == expected
