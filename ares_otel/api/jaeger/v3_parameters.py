"""Requests of v3 over HTTP: parameters of the address, or a JSON body, as the protobuf messages that gRPC takes.

grpc-gateway takes names as they are in the `.proto` file and in camelCase; so does this. What is not known is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import orjson
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ares_otel.api.jaeger.proto import api_v3_pb2 as pb
from ares_otel.api.jaeger.proto.expression_v1_pb2 import Call
from ares_otel.api.jaeger.times import timestamp_of
from ares_otel.model.go_duration import parse_go_duration
from ares_otel.query.instant import Instant
from ares_otel.query.search.expression import Refused

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
"""Go's `strconv.ParseBool`."""
_WHOLE = re.compile(r"-?\d{1,20}", re.ASCII)
_SHOWN = 100
MAX_PARTS = 8_192
"""Values of a filter's JSON, those inside others included. One that is served has some 256 parts of four values each
and lists of a thousand; reading more would hold up others."""

Search = TypeVar("Search", pb.FindTracesRequest, pb.FindTraceSummariesRequest)


def given(pairs: Iterable[tuple[str, str]], fields: Iterable[str], prefix: str = "") -> dict[str, str]:
    """The values of parameters by the names of fields; what is empty was not given.

    Raises:
        Refused: a parameter is not known, or is given twice.
    """
    names = _names(fields, prefix)
    values: dict[str, str] = {}
    for name, value in pairs:
        field = names.get(name)
        if field is None:
            known = ", ".join(prefix + field for field in dict.fromkeys(names.values()))
            raise Refused(f"{_shown(name)} is no parameter here; there are {known or 'none'}.")
        if not value:
            continue
        if field in values:
            raise Refused(f"{prefix}{field} is given twice; give it once.")
        values[field] = value
    return values


def trace_request(trace_id: str, pairs: Iterable[tuple[str, str]]) -> pb.GetTraceRequest:
    """A request for a trace. Raises Refused."""
    values = given(pairs, ("start_time", "end_time", "raw_traces"))
    request = pb.GetTraceRequest(trace_id=trace_id, raw_traces=_bool(values.get("raw_traces", ""), "raw_traces"))
    _set_times(request, values, ("start_time", "end_time"), "")
    return request


def dependencies_request(pairs: Iterable[tuple[str, str]]) -> pb.GetDependenciesRequest:
    """A request for dependencies. Raises Refused."""
    request = pb.GetDependenciesRequest()
    _set_times(request, given(pairs, ("start_time", "end_time")), ("start_time", "end_time"), "")
    return request


def operations_request(pairs: Iterable[tuple[str, str]]) -> pb.GetOperationsRequest:
    """A request for operations. Raises Refused."""
    return pb.GetOperationsRequest(**given(pairs, ("service", "span_kind")))


def search_of_address(kind: type[Search], pairs: Iterable[tuple[str, str]]) -> Search:
    """A search from parameters like `query.service_name`. Raises Refused."""
    values: dict[str, Any] = dict(given(pairs, _SEARCH, "query."))
    for name in ("attributes", "filter"):
        if name in values:
            values[name] = _json(values[name].encode(), f"query.{name}")
    return kind(query=_query(values))


def search_of_body(kind: type[Search], body: bytes) -> Search:
    """A search from a JSON body like `{"query": {"service_name": …}}`. Raises Refused."""
    content = _object(_json(body, "The body"), "The body")
    if unknown := sorted(content.keys() - {"query"}):
        raise Refused(f"{_shown(unknown[0])} is no field of the body; there is query.")
    names = _names(_SEARCH, "")
    values: dict[str, Any] = {}
    for name, value in _object(content.get("query", {}), "query").items():
        field = names.get(name)
        if field is None:
            raise Refused(f"query.{_shown(name)} is no field of a search; there are {', '.join(_SEARCH)}.")
        if field in values:
            raise Refused(f"query.{field} is given twice; give it once.")
        if value is not None:
            values[field] = value
    return kind(query=_query(values))


_OTHER_NAMES = {"num_traces": "search_depth", "span_name": "operation_name"}
"""What `search_depth` was called, and what versions of Jaeger's pages in 2026 send for an operation."""
_SEARCH = (*(field.name for field in pb.TraceQueryParameters.DESCRIPTOR.fields), *_OTHER_NAMES)
"""Fields of a search, by all their names."""


def _query(values: dict[str, Any]) -> pb.TraceQueryParameters:
    query = pb.TraceQueryParameters()
    for other, field in _OTHER_NAMES.items():
        if other in values and field in values:
            raise Refused(f"query.{other} is another name of query.{field}; give one of them.")
    for name in ("search_depth", "num_traces"):
        if name in values:
            query.search_depth = _int(values[name], f"query.{name}")
    for name in ("service_name", "operation_name", "span_name"):
        if name in values:
            setattr(query, _OTHER_NAMES.get(name, name), _text(values[name], f"query.{name}"))
    for field in ("duration_min", "duration_max"):
        if field in values:
            getattr(query, field).CopyFrom(_duration(values[field], f"query.{field}"))
    _set_times(query, values, ("start_time_min", "start_time_max"), "query.")
    query.raw_traces = _bool(values.get("raw_traces", ""), "query.raw_traces")
    for key, value in _object(values.get("attributes", {}), "query.attributes").items():
        query.attributes[key] = _text(value, f"query.attributes: the value of {_shown(key)}")
    if "filter" in values:
        query.filter.CopyFrom(_call(values["filter"]))
    return query


def _call(value: object) -> Call:
    _refuse_many(value)
    try:
        return json_format.ParseDict(_object(value, "query.filter"), Call())
    except (json_format.ParseError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, Refused):
            raise
        reason = (str(error).splitlines() or ["it cannot be read"])[0].rstrip(".")
        raise Refused(f"query.filter is no Call of jaeger.expression.v1: {reason[:200]}.") from None


def _refuse_many(value: object) -> None:
    parts, left = 0, [value]
    while left:
        each = left.pop()
        inside = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        parts += len(inside)
        if parts > MAX_PARTS:
            raise Refused(f"query.filter has more than {MAX_PARTS:,} values; ask for less at once.")
        left.extend(inside)


def _names(fields: Iterable[str], prefix: str) -> dict[str, str]:
    """Names that are taken → name of the field."""
    names = {}
    for field in fields:
        first, *rest = field.split("_")
        names[prefix + field] = names[prefix + first + "".join(map(str.title, rest))] = field
    return names


def _set_times(message: Any, values: Mapping[str, Any], names: Iterable[str], prefix: str) -> None:
    for name in names:
        if name in values:
            getattr(message, name).CopyFrom(_timestamp(values[name], prefix + name))


def _timestamp(value: object, name: str) -> Timestamp:
    try:
        return timestamp_of(Instant.parse(_text(value, name)))
    except Refused:
        raise
    except ValueError as error:
        raise Refused(f"{name} {error}.") from None


def _duration(value: object, name: str) -> Duration:
    try:
        nanoseconds = parse_go_duration(_text(value, name))
    except Refused:
        raise
    except ValueError as error:
        raise Refused(f"{name} {error}.") from None
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    sign = -1 if nanoseconds < 0 else 1
    return Duration(seconds=sign * seconds, nanos=sign * rest)


def _int(value: object, name: str) -> int:
    """Protobuf's JSON takes whole numbers also as text."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _WHOLE.fullmatch(text) or not -(2**31) <= int(text) < 2**31:
        raise Refused(f"{name} must be a whole number.")
    return int(text)


def _bool(value: object, name: str) -> bool:
    if value == "" or value in _FALSE or value is False:
        return False
    if value in _TRUE or value is True:
        return True
    raise Refused(f"{name} must be true or false.")


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise Refused(f"{name} must be a text.")
    return value


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{name} must be a JSON object.")
    return value


def _json(text: bytes, name: str) -> object:
    """Of a name that stands twice in an object readers of JSON drop one value: that would be a condition less."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        content: dict[str, object] = {}
        for key, value in pairs:
            if key in content:
                raise Refused(f"{name}: {_shown(key)} is given twice; give it once.")
            content[key] = value
        return content

    try:
        orjson.loads(text)  # stricter: no NaN, no halves of characters
        return json.loads(text, object_pairs_hook=once)
    except Refused:
        raise
    except (ValueError, RecursionError):
        raise Refused(f"{name} is not JSON.") from None


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN else name[: _SHOWN - 1] + "…")
