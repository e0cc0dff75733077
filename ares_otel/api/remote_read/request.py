"""What a request for remote read asks for.

Source: Prometheus, `prompb/remote.proto` and `storage/remote/codec.go`; the request and its headers are version 0.1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from google.protobuf.message import DecodeError

from ares_otel.model.errors import AresError
from ares_otel.model.prometheus import snappy_blocks
from ares_otel.model.prometheus.proto import remote_v1_pb2 as pb
from ares_otel.model.prometheus.selector import MAX_MATCHERS, InvalidSelector, Matcher, Selector, make_matcher

MAX_BODY = 1024 * 1024
"""Bytes of a request, compressed and inflated: matchers and times take hundreds."""
MAX_QUERIES = 64
MAX_PATTERNS = 100
"""Regular expressions of all queries together: each may take a megabyte."""
MAX_NAME = 1024
"""Characters of a label's name."""
_OPERATORS = {
    pb.LabelMatcher.EQ: "=",
    pb.LabelMatcher.NEQ: "!=",
    pb.LabelMatcher.RE: "=~",
    pb.LabelMatcher.NRE: "!~",
}
_PATTERNS = (pb.LabelMatcher.RE, pb.LabelMatcher.NRE)
_MAX_MS = 2**64 // 10**6
"""OTLP's times end there; a Prometheus asks for the least and the largest int64 where it has no bound."""
_LABELS_ONLY = "series"
"""`func` of the hints when only labels are wanted: `/api/v1/series` of a Prometheus."""


class Refused(AresError):
    """A request that cannot be answered as it is."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


class ResponseType(Enum):
    """How the samples are sent."""

    SAMPLES = pb.ReadRequest.SAMPLES
    STREAMED_XOR_CHUNKS = pb.ReadRequest.STREAMED_XOR_CHUNKS


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """One of the queries of a request."""

    selector: Selector
    start_ms: int
    """Milliseconds since 1970, inclusive, as is the end, which may lie before: then there is nothing."""
    end_ms: int
    labels_only: bool
    """Whether it matters only that a series has a sample, and not which ones."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a request asks for."""

    queries: tuple[ReadQuery, ...]
    response_type: ResponseType


def parse_request(body: bytes) -> ReadRequest:
    """The request in a body, which is a block of snappy.

    Raises:
        Refused: it is none, or more than Ares answers; the message is a sentence for the reader's log.
    """
    try:
        message = pb.ReadRequest.FromString(snappy_blocks.inflate(body, MAX_BODY))
    except snappy_blocks.TooLarge as error:
        raise Refused(
            f"The request would have {error}; {MAX_BODY} are allowed.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        ) from None
    except snappy_blocks.NotSnappy as error:
        raise Refused(f"The body is not compressed by snappy in its block format: {error}.") from None
    except DecodeError:
        raise Refused("The body is not a prometheus.ReadRequest in protobuf.") from None
    if len(message.queries) > MAX_QUERIES:
        raise Refused(f"The request has {len(message.queries)} queries; send {MAX_QUERIES} at most at once.")
    patterns = sum(matcher.type in _PATTERNS for query in message.queries for matcher in query.matchers)
    if patterns > MAX_PATTERNS:
        raise Refused(f"The request has {patterns} regular expressions; {MAX_PATTERNS} are allowed.")
    return ReadRequest(tuple(map(_query, message.queries)), _response_type(message))


def _response_type(message: pb.ReadRequest) -> ResponseType:
    """The first accepted one that there is; samples where none is named, as before there were others."""
    accepted = list(message.accepted_response_types) or [pb.ReadRequest.SAMPLES]
    for number in accepted:
        if number in {known.value for known in ResponseType}:
            return ResponseType(number)
    known = ", ".join(f"{known.name} ({known.value})" for known in ResponseType)
    raise Refused(f"None of the accepted response types is known here; accept one of {known}.")


def _query(query: pb.Query) -> ReadQuery:
    """The hints tell the part of the time that one selector of a PromQL expression needs; Prometheus reads no more
    than that from its own storage either."""
    start, end = query.start_timestamp_ms, query.end_timestamp_ms
    hints = query.hints
    if hints.start_ms or hints.end_ms:
        start, end = max(start, hints.start_ms), min(end, hints.end_ms)
    return ReadQuery(
        _selector(query), min(max(start, 0), _MAX_MS), min(max(end, -1), _MAX_MS), hints.func == _LABELS_ONLY
    )


def _selector(query: pb.Query) -> Selector:
    if len(query.matchers) > MAX_MATCHERS:
        raise Refused(f"A query has {len(query.matchers)} matchers; {MAX_MATCHERS} are allowed.")
    return Selector(tuple(map(_matcher, query.matchers)))


def _matcher(matcher: pb.LabelMatcher) -> Matcher:
    operator = _OPERATORS.get(matcher.type)
    if operator is None:
        raise Refused(f"A matcher has the type {matcher.type}, which does not exist.")
    if not matcher.name or len(matcher.name) > MAX_NAME:
        raise Refused(f"The name of a matcher's label must have 1 to {MAX_NAME} characters.")
    try:
        return make_matcher(matcher.name, operator, matcher.value)
    except InvalidSelector as error:
        raise Refused(f"The matcher of the label {matcher.name[:100]!r} does not work: {error}.") from None
