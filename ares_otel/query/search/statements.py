"""The statements of a search, around what the compiler makes of a predicate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from ares_otel.query.instant import Instant
from ares_otel.query.ranges import Range
from ares_otel.query.search.compiler import Answers, Aside, Compiler, TextsOf
from ares_otel.query.search.predicate import Predicate
from ares_otel.query.search.query import TraceQuery
from ares_otel.query.search.subjects import Parameters
from ares_otel.query.statements import Statement

LIVE, PINNED = "service_spans", "pinned_spans"
"""Where spans are: in partitions, and as copies of those of pinned traces."""
_PLACEHOLDER = re.compile(r"\$(\d+)")


class Compiled(Statement):
    """A statement that was put together, with what it is bound to: of the arguments those that it names."""

    def __init__(self, name: str, text: str, arguments: Sequence[object]) -> None:
        self.name = name
        self.parameters = frozenset()
        numbers: dict[str, int] = {}
        self._text = _PLACEHOLDER.sub(lambda match: f"${numbers.setdefault(match[1], len(numbers) + 1)}", text)
        self._arguments = [arguments[int(number) - 1] for number in numbers]

    def bind(self, values: Mapping[str, object]) -> tuple[str, list[object]]:
        """The text and its values; there are no others."""
        return self._text, self._arguments


def traces_statement(
    table: str,
    predicate: Predicate,
    query: TraceQuery,
    answers: Answers,
    range_: Range,
    found: Sequence[UUID],
    scan: int,
) -> Compiled:
    """The traces of the newest `scan` matching spans of a range, but for those that were found: id, newest and oldest
    start of the spans in nanoseconds; and how many spans these are, with the start of the oldest.

    The inner query ends at `scan` spans, so that a trace of a million of them costs no memory.
    """
    parameters = Parameters()
    where = [*_times(query, range_, parameters), *Compiler(answers, parameters).compile(predicate)]
    if found:
        where.append(f"s.trace_id <> ALL({parameters.add(list(found), 'uuid[]')})")
    text = f"""
        SELECT trace_id, max(at) AS newest, min(at) AS oldest, sum(count(*)) OVER () AS spans,
               min(min(start_time)) OVER () AS reached
        FROM (
            SELECT trace_id, start_time, (extract(epoch FROM start_time) * 1000000)::bigint * 1000 + start_ns AS at
            FROM (
                SELECT s.trace_id, s.start_time, s.start_ns
                FROM {table} s
                WHERE {_all(where)}
                ORDER BY s.start_time DESC, s.start_ns DESC
                LIMIT {parameters.add(scan, "bigint")}
            ) newest
        ) n
        GROUP BY trace_id
        ORDER BY newest DESC, trace_id DESC"""  # noqa: S608 # the table is one of ours, everything else is bound
    return Compiled("search_traces", text, parameters.values)


def questions(predicate: Predicate) -> tuple[list[Aside], list[TextsOf]]:
    """What must be known before a predicate can be asked about."""
    compiler = Compiler(Answers(), Parameters())
    compiler.compile(predicate)
    return compiler.asides, compiler.texts


def asides_with(predicate: Predicate, answers: Answers) -> list[Aside]:
    """The same questions, with the texts that are known by now in their conditions."""
    compiler = Compiler(answers, Parameters())
    compiler.compile(predicate)
    return compiler.asides


def ids_statement(aside: Aside, limit: int) -> Compiled:
    """The resources or scopes that satisfy a condition."""
    services = "r.service_name" if aside.level == "resource" else "NULL::text"
    text = f"SELECT {aside.id} AS id, {services} AS service FROM {aside.table} WHERE {aside.condition} LIMIT {limit:d}"  # noqa: S608
    return Compiled("search_ids", text, aside.arguments)


def aside_texts_statement(aside: Aside, max_texts: int, max_bytes: int) -> Compiled:
    """The texts that a regular expression about resources or scopes looks at."""
    inner = f"SELECT DISTINCT {aside.texts} AS text FROM {aside.table} WHERE {aside.condition}"  # noqa: S608
    return Compiled("search_aside_texts", _bounded(inner, max_texts, max_bytes), aside.arguments)


def texts_statement(
    table: str,
    predicate: Predicate,
    query: TraceQuery,
    answers: Answers,
    range_: Range,
    number: int,
    max_texts: int,
    max_bytes: int,
) -> Compiled:
    """The texts that a regular expression looks at, in the spans of a range that may match."""
    parameters = Parameters()
    times = _times(query, range_, parameters)
    compiler = Compiler(answers, parameters, superset=True)
    where = [*times, *compiler.compile(predicate)]
    texts = compiler.texts[number]
    where.append(f"({texts.sql}) IS NOT NULL")
    inner = f"SELECT DISTINCT {texts.sql} AS text FROM {table} s{texts.joined} WHERE {_all(where)}"  # noqa: S608
    return Compiled("search_texts", _bounded(inner, max_texts, max_bytes), parameters.values)


def _bounded(inner: str, max_texts: int, max_bytes: int) -> str:
    return f"""
        SELECT text, texts
        FROM (
            SELECT text, count(*) OVER () AS texts,
                   sum(octet_length(text)) OVER (ROWS UNBOUNDED PRECEDING) AS running_bytes
            FROM ({inner}) distinct_texts
        ) t
        WHERE running_bytes <= {max_bytes:d}
        LIMIT {max_texts:d}"""  # noqa: S608


def _times(query: TraceQuery, range_: Range, parameters: Parameters) -> list[str]:
    """The plain comparisons let partitions be left out, which comparisons of rows do not."""
    where = []
    for bound, operator in ((range_.lower, ">="), (range_.upper, "<")):
        if bound is not None:
            where.append(f"s.start_time {operator} {parameters.add(bound, 'timestamptz')}")
    for instant, operator in ((query.start, ">="), (query.end, "<")):
        if instant is not None:
            where.append(f"(s.start_time, s.start_ns) {operator} {_instant(instant, parameters)}")
    return where


def _instant(instant: Instant, parameters: Parameters) -> str:
    return f"({parameters.add(instant.time, 'timestamptz')}, {parameters.add(instant.ns, 'smallint')})"


def _all(conditions: Sequence[str]) -> str:
    return "\n AND ".join(conditions) if conditions else "true"
