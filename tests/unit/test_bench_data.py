"""The telemetry of the benchmarks: the same for the same seed, valid, and connected as real telemetry is."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from ares_otel.cli.bench.data import ITEMS_A_REQUEST, Source
from ares_otel.cli.bench.data.fleet import make_fleet
from ares_otel.model.batch import Batch
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.storage.rows.encode import encode_batch
from ares_otel.storage.rows.encoded import PARTITIONED, Window

NOW = 1_800_000_000_000_000_000
REQUESTS = 20


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(1, REQUESTS)


def messages(source: Source, signal: Signal, number: int = 0) -> list[Any]:
    """The requests of a set."""
    found = []
    for _, body in source.set(signal, number, end_ns=NOW):
        message: Any = signal.request()
        message.ParseFromString(body)
        found.append(message)
    return found


def spans_of(requests: list[Any]) -> list[Any]:
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def records_of(requests: list[Any]) -> list[Any]:
    return [
        record
        for request in requests
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(signal: Signal) -> None:
    first, again, other = (Source(seed, 2).requests(signal, 3, now_ns=NOW) for seed in (1, 1, 2))
    assert first == again
    assert first.bodies[0] != other.bodies[0]


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
def test_joined_requests_hold_the_same_items_in_fewer_bodies(source: Source, signal: Signal) -> None:
    single = source.requests(signal, REQUESTS, now_ns=NOW)
    batched = source.requests(signal, REQUESTS, now_ns=NOW, batch=single.items // 4)
    sizes = []
    for body in batched.bodies:
        message: Any = signal.request()
        message.ParseFromString(body)
        sizes.append(signal.count(message))
    assert len(sizes) == 4
    assert sum(sizes) == batched.items == single.items
    assert b"".join(batched.bodies) == b"".join(single.bodies)


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=str)
def test_nothing_that_is_generated_is_rejected_or_filed_elsewhere(source: Source, signal: Signal) -> None:
    # A narrow window: a time outside of it would be filed under the receive time, in a column that says so.
    windows = dict.fromkeys(PARTITIONED, Window(NOW - source.window_ns, NOW + 1))
    requests = source.requests(signal, REQUESTS, now_ns=NOW)
    encoded = [
        encode_batch(Batch(signal, body, received_ns=time.time_ns(), receiver="t", transport="t"), windows)
        for body in requests.bodies
    ]
    assert sum(batch.stored for batch in encoded) == requests.items
    assert not any(batch.rejected for batch in encoded)


def test_traces_are_whole_within_a_set(source: Source) -> None:
    spans = spans_of(messages(source, TRACES))
    owner = {span.span_id: span.trace_id for span in spans}
    assert len(spans) == len(owner) == REQUESTS * ITEMS_A_REQUEST
    assert all(owner[span.parent_span_id] == span.trace_id for span in spans if span.parent_span_id)
    assert all(owner[link.span_id] == link.trace_id for span in spans for link in span.links)
    assert {span.kind for span in spans} == {1, 2, 3, 4, 5}
    assert any(span.events for span in spans)
    traces = Counter(span.trace_id for span in spans)
    assert len(traces) < len(spans) / 3


def test_two_sets_have_no_id_in_common(source: Source) -> None:
    first, second = (spans_of(messages(source, TRACES, number)) for number in (0, 1))
    assert not {span.trace_id for span in first} & {span.trace_id for span in second}
    assert not {span.span_id for span in first} & {span.span_id for span in second}


def test_times_lie_within_the_window_before_the_end(source: Source) -> None:
    for span in spans_of(messages(source, TRACES)):
        assert NOW - source.window_ns <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.start_time_unix_nano <= NOW


def test_logs_belong_to_the_spans_of_the_same_set(source: Source) -> None:
    owner = {span.span_id: span.trace_id for span in spans_of(messages(source, TRACES, 7))}
    records = records_of(messages(source, LOGS, 7))
    joined = [record for record in records if record.trace_id]
    assert all(owner[record.span_id] == record.trace_id for record in joined)
    assert 0.85 < len(joined) / len(records) < 1
    assert all({"code.file.path", "code.line.number"} <= {each.key for each in record.attributes} for record in records)


def test_metrics_are_of_every_kind(source: Source) -> None:
    kinds = {
        metric.WhichOneof("data")
        for request in messages(source, METRICS)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert kinds == {"gauge", "sum", "histogram", "exponential_histogram", "summary"}


def test_many_services_send_a_few_of_them_most(source: Source) -> None:
    spans = Counter[str]()
    senders = []
    for request in messages(source, TRACES):
        senders.append(len(request.resource_spans))
        for resource in request.resource_spans:
            name = next(each.value.string_value for each in resource.resource.attributes if each.key == "service.name")
            spans[name] += sum(len(scope.spans) for scope in resource.scope_spans)
    assert len(spans) == len(make_fleet(1)) >= 40
    assert sum(count for _, count in spans.most_common(10)) > 0.4 * spans.total()
    assert 1 in senders  # a service's own request
    assert max(senders) > 5  # a gateway's
