"""The native encoder of the SDK's objects writes what the official one writes, byte by byte."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common import _log_encoder, trace_encoder
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from ares_otel.sdk.direct import encode
from ares_otel.sdk.direct.encode import encode_logs, encode_spans
from ares_otel.storage.rows.implementation import active

native = pytest.mark.skipif(active().native is None, reason="the native encoder is not built")

texts = st.text(max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1)
plain: st.SearchStrategy[Any] = st.one_of(
    texts, st.booleans(), numbers, st.floats(), st.binary(max_size=8), st.none(), st.just("x" * 200)
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=4,
)
attributes = st.dictionaries(st.text(min_size=1, max_size=12), values, max_size=4)
bounded = st.builds(lambda given, most: BoundedAttributes(most, given), attributes, st.integers(1, 6))
times = st.one_of(st.none(), st.integers(0, 2**64 - 1))
states = st.builds(
    lambda pairs: TraceState(list(pairs.items())),
    st.dictionaries(st.text("abcxyz", min_size=1, max_size=5), st.text("abc123", min_size=1, max_size=5), max_size=2),
)
contexts = st.builds(
    SpanContext, st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1), st.booleans(), st.just(TraceFlags(1)), states
)
resources = st.builds(
    Resource, st.dictionaries(st.text(min_size=1, max_size=5), texts, max_size=2), st.sampled_from(["", "https://s"])
)
scopes = st.one_of(
    st.none(), st.builds(InstrumentationScope, texts, st.one_of(st.none(), texts), st.sampled_from([None, "https://t"]))
)
spans = st.builds(
    ReadableSpan,
    texts,
    contexts,
    st.one_of(st.none(), contexts),
    resources,
    st.one_of(st.none(), bounded, attributes),
    st.lists(st.builds(Event, texts, st.one_of(st.none(), bounded), st.integers(0, 2**63)), max_size=2),
    st.lists(st.builds(Link, contexts, st.one_of(st.none(), bounded)), max_size=2),
    st.sampled_from(SpanKind),
    status=st.builds(Status, st.sampled_from(StatusCode), st.none()),
    start_time=times,
    end_time=times,
    instrumentation_scope=scopes,
)


def _record(**fields: Any) -> LogRecord:
    ids = {name: fields.pop(name) for name in ("trace_id", "span_id", "trace_flags")}
    record = LogRecord(**fields)
    vars(record).update(ids)
    return record


records = st.builds(
    ReadableLogRecord,
    st.builds(
        _record,
        timestamp=times,
        observed_timestamp=st.integers(0, 2**63),
        severity_text=st.one_of(st.none(), texts),
        severity_number=st.one_of(st.none(), st.sampled_from(SeverityNumber)),
        body=values,
        attributes=st.one_of(st.none(), bounded, attributes),
        event_name=st.one_of(st.none(), texts),
        trace_id=st.integers(0, 2**128 - 1),
        span_id=st.integers(0, 2**64 - 1),
        trace_flags=st.sampled_from([TraceFlags(0), TraceFlags(1), TraceFlags(255)]),
    ),
    resources,
    scopes,
)


@pytest.fixture(autouse=True, scope="module")
def fresh_choice() -> Iterator[None]:
    encode._extension.cache_clear()
    yield
    encode._extension.cache_clear()


def native_spans(given: list[ReadableSpan]) -> bytes:
    made: bytes = encode._extension().encode_sdk_spans(given, ReadableSpan, BoundedAttributes)
    return made


def native_logs(given: list[ReadableLogRecord]) -> bytes:
    made: bytes = encode._extension().encode_sdk_logs(given, ReadableLogRecord, BoundedAttributes)
    return made


@native
@settings(max_examples=25)
@given(st.lists(spans, max_size=3))
def test_spans_become_the_bytes_of_the_official_encoder(given: list[ReadableSpan]) -> None:
    assert native_spans(given) == trace_encoder.encode_spans(given).SerializeToString()


@native
@settings(max_examples=25)
@given(st.lists(records, max_size=3))
def test_log_records_become_the_bytes_of_the_official_encoder(given: list[ReadableLogRecord]) -> None:
    assert native_logs(given) == _log_encoder.encode_logs(given).SerializeToString()


@native
def test_spans_of_the_sdk_itself_are_for_the_native_encoder() -> None:
    limits = SpanLimits(max_span_attributes=2, max_events=1, max_links=1, max_event_attributes=1)
    tracers = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    tracer = tracers.get_tracer("a", "1", attributes={"of": "the scope"})
    with tracer.start_as_current_span("parent") as parent:
        link = Link(parent.get_span_context(), {"a": 1, "b": 2})
        span = tracer.start_span("child", links=[link, link], attributes={"a": [1, 2], "b": "ü" * 100, "c": math.inf})
        span.add_event("first", {"a": 1, "b": 2})
        span.add_event("second")
        span.record_exception(ValueError("no"))
        span.set_status(StatusCode.ERROR, "failed")
        span.end()
    found = [span._readable_span(), parent._readable_span()]  # type: ignore[attr-defined]
    assert native_spans(found) == trace_encoder.encode_spans(found).SerializeToString()


class Redacted(ReadableSpan):
    """A span that hides something, as processors of applications make them."""

    @property
    def attributes(self) -> Any:
        return {"hidden": True}


@pytest.mark.parametrize(
    "odd",
    [
        ReadableSpan("too large", SpanContext(1, 1, False), attributes={"number": 2**70}),
        ReadableSpan("a set", SpanContext(1, 1, False), attributes={"set": {1}}),  # type: ignore[dict-item]
        ReadableSpan("no text", SpanContext(1, 1, False), attributes={"text": "\ud800"}),
        Redacted("redacted", SpanContext(1, 1, False), attributes={"secret": "x"}),
    ],
    ids=lambda span: span.name,
)
@pytest.mark.filterwarnings("ignore")
def test_what_the_native_encoder_does_not_know_is_for_the_official_one(odd: ReadableSpan) -> None:
    usual = ReadableSpan("usual", SpanContext(1, 2, False))
    assert encode_spans([usual, odd]) == trace_encoder.encode_spans([usual, odd]).SerializeToString()


def test_a_pure_python_installation_uses_the_official_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_extension", lambda: None)
    span = ReadableSpan("usual", SpanContext(1, 2, False))
    assert encode_spans([span]) == trace_encoder.encode_spans([span]).SerializeToString()
    record = ReadableLogRecord(LogRecord(body="hello"), Resource({}))
    assert encode_logs([record]) == _log_encoder.encode_logs([record]).SerializeToString()
