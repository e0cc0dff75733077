"""What a search of Jaeger's HTTP API of version 1 asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from ares_otel.api.jaeger.trace_ids import parse_trace_id
from ares_otel.api.jaeger.v1_envelope import BadParameter
from ares_otel.api.jaeger.v1_values import Values, instant_of
from ares_otel.query.instant import Instant, to_micros
from ares_otel.query.search.query import TraceQuery, Wanted

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
DEFAULT_LOOKBACK = timedelta(hours=48)
"""How far back a search without `start` and `lookback` goes: as far as Jaeger's."""
LEVELS = ("span", "resource", "scope", "event", "link")
_MAX_TAGS = 100


@dataclass(frozen=True, slots=True)
class Search:
    """Traces by what they hold, or by their ids."""

    query: TraceQuery
    trace_ids: tuple[UUID, ...]
    """Where there are any, everything else but the times is ignored, as Jaeger does."""
    where: tuple[Instant | None, Instant | None]
    """Where traces by id are looked for."""
    raw: bool


def parse_search(values: Values, now: datetime) -> Search:
    """The parameters of `/api/traces`.

    Raises:
        BadParameter: one is wrong, or two contradict each other.
    """
    start, end = values.micros("start"), values.micros("end")
    lookback = values.lookback()
    where = between(start, end)
    lowest, highest = values.duration_ns("minDuration"), values.duration_ns("maxDuration")
    if lowest is not None and highest and highest < lowest:
        raise BadParameter("maxDuration", "must not be shorter than the parameter minDuration")
    until = to_micros(now) if end is None else end
    since = until - (lookback or DEFAULT_LOOKBACK) // timedelta(microseconds=1) if start is None else start
    query = TraceQuery(
        service=values.text("service"),
        operation=values.text("operation"),
        attributes=parse_tags(values),
        levels=LEVELS,
        start=instant_of(max(since, 0)),
        end=instant_of(until + 1),
        min_ns=lowest or None,
        max_ns=highest or None,  # 0 is no bound, as in Jaeger
        limit=values.integer("limit", DEFAULT_LIMIT, low=1, high=MAX_LIMIT),
    )
    return Search(query, trace_ids(values.texts("traceID")), where, values.boolean("raw"))


def between(start: int | None, end: int | None) -> tuple[Instant | None, Instant | None]:
    """The range from microseconds since 1970: the start, and what follows the end, which is meant with its whole
    microsecond. Raises BadParameter where the start is later than the end."""
    if start is not None and end is not None and start > end:
        raise BadParameter("start", "must not be later than the parameter end")
    return instant_of(start), instant_of(None if end is None else end + 1)


def trace_ids(texts: list[str]) -> tuple[UUID, ...]:
    """The ids, each once, in their order. Raises BadParameter."""
    found: dict[UUID, None] = {}
    for text in texts:
        try:
            found[parse_trace_id(text)] = None
        except ValueError as error:
            raise BadParameter("traceID", str(error)) from None
    return tuple(found)


def parse_tags(values: Values) -> tuple[Wanted, ...]:
    """`tag=key:value`, repeated, and `tags={"key": "value"}`; of a key that comes twice the last one counts.

    Values are texts there, so a text also finds a number or boolean that is written so.

    Raises:
        BadParameter: one is of the wrong form.
    """
    found: dict[str, str] = {}
    for text in values.texts("tag"):
        key, colon, value = text.partition(":")
        if not colon or not key:
            raise BadParameter("tag", "must be of the form key:value, for example http.response.status_code:500")
        found[key] = value
    for text in values.texts("tags"):
        found.update(_json_tags(text))
    if len(found) > _MAX_TAGS:
        raise BadParameter("tags", f"may have {_MAX_TAGS} tags at most, those of tag included")
    return tuple(Wanted(key, value, loose=True) for key, value in found.items())


def _json_tags(text: str) -> dict[str, str]:
    form = 'must be a JSON object of texts, for example {"http.response.status_code":"500"}'
    try:
        content = orjson.loads(text)
    except (orjson.JSONDecodeError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise BadParameter("tags", form)
    found = {}
    for key, value in content.items():
        if isinstance(value, bool | int | float):
            value = orjson.dumps(value).decode()
        if not isinstance(value, str) or not key or "\0" in key + value:
            raise BadParameter("tags", form)
        found[key] = value
    return found
