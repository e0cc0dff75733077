"""The `probabilistic_sampler` processor."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import LOGS, TRACES
from ares_otel.model.thresholds import (
    NEVER,
    SamplingError,
    TraceState,
    decode_threshold,
    encode_threshold,
    probability_of,
    threshold_of,
)
from ares_otel.processors.probabilistic_sampler import FACTORY, hash_randomness
from tests.support.parts import (
    build_processor,
    logs,
    make_batch,
    make_context,
    only_records,
    only_spans,
    plain,
    sample,
    traces,
)

MODES = ["hash_seed", "proportional", "equalizing"]
IDS = [random.Random(7).randbytes(16) for _ in range(1)] + [random.Random(seed).randbytes(16) for seed in range(4000)]


async def kept_spans(options: dict[str, Any], *spans: dict[str, Any]) -> list[Any]:
    processor, keeper = build_processor(FACTORY, options, TRACES)
    answer = await processor.consume(make_batch(traces(*spans)))
    found = only_spans(keeper.batches[0]) if keeper.batches else []
    assert answer == Accepted(len(found), dropped=len(spans) - len(found))
    return found


async def kept_logs(options: dict[str, Any], *records: dict[str, Any]) -> list[Any]:
    processor, keeper = build_processor(FACTORY, options, LOGS)
    await processor.consume(make_batch(logs(*records)))
    return only_records(keeper.batches[0]) if keeper.batches else []


async def kept_ids(percentage: float, mode: str, **more: Any) -> set[bytes]:
    options = {"sampling_percentage": percentage, "mode": mode, **more}
    return {span.trace_id for span in await kept_spans(options, *({"trace_id": id} for id in IDS))}


@pytest.mark.parametrize("mode", MODES)
async def test_the_share_that_is_kept_is_the_configured_one_within_five_sigma(mode: str) -> None:
    for percentage in (1.0, 10.0, 50.0, 90.0):
        expected = len(IDS) * percentage / 100
        sigma = (expected * (1 - percentage / 100)) ** 0.5
        assert abs(len(await kept_ids(percentage, mode)) - expected) < 5 * sigma


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_kept_at_a_lower_share_is_kept_at_every_higher_one(mode: str) -> None:
    last: set[bytes] = set()
    for percentage in (0.0, 0.5, 1.0, 10.0, 33.3, 50.0, 99.9, 100.0, 150.0):
        now = await kept_ids(percentage, mode)
        assert last <= now
        last = now
    assert last == set(IDS)


@pytest.mark.parametrize("mode", MODES)
async def test_a_trace_stays_whole_and_its_logs_stay_with_it(mode: str) -> None:
    options = {"sampling_percentage": 30.0, "mode": mode, "hash_seed": 22}
    spans = await kept_spans(options, *({"trace_id": id, "name": str(n)} for id in IDS[:300] for n in range(3)))
    records = await kept_logs(options, *({"trace_id": id, "body": "b"} for id in IDS[:300]))
    of_spans = [span.trace_id for span in spans]
    assert 0 < len(set(of_spans)) < 300
    assert all(of_spans.count(id) == 3 for id in of_spans)
    assert set(of_spans) == {record.trace_id for record in records}


async def test_another_seed_keeps_other_traces() -> None:
    assert await kept_ids(50, "hash_seed", hash_seed=1) != await kept_ids(50, "hash_seed", hash_seed=2)


def test_the_hash_is_the_collectors() -> None:
    """FNV-1a test vectors (Landon Noll) with the four zero bytes of seed 0 in front, computed step by step."""
    value = 2166136261
    for byte in b"\0\0\0\0foobar":
        value = (value ^ byte) * 16777619 % 2**32
    randomness = hash_randomness(b"foobar", 0)
    assert randomness >> 42 == 0x3FFF - (value & 0x3FFF)
    assert randomness & 0x3FFF == value & 0x3FFF
    assert randomness < NEVER


async def test_the_decision_and_its_probability_stand_in_the_trace_state() -> None:
    high = bytes(9) + b"\xff" * 7
    (span,) = await kept_spans({"sampling_percentage": 25, "mode": "proportional"}, {"trace_id": high})
    assert span.trace_state == "ot=th:c"
    (span,) = await kept_spans(
        {"sampling_percentage": 50, "mode": "proportional"},
        {"trace_id": bytes(15) + b"\1", "trace_state": "a=b,ot=th:0;rv:9b8233f7e3a151;x:y,c=d"},
    )
    assert span.trace_state == "ot=th:8;rv:9b8233f7e3a151;x:y,a=b,c=d"
    (span,) = await kept_spans({"sampling_percentage": 100}, {"trace_id": high})
    assert span.trace_state == f"ot=th:0;rv:{hash_randomness(high, 0):014x}"


async def test_proportional_samples_what_is_left_and_equalizing_samples_down_to_the_share() -> None:
    spans = [{"trace_id": id, "trace_state": "ot=th:8"} for id in IDS if id[9] >= 0x80]
    proportional = await kept_spans({"sampling_percentage": 50, "mode": "proportional"}, *spans)
    assert 0.4 < len(proportional) / len(spans) < 0.6
    assert {span.trace_state for span in proportional} == {"ot=th:c"}
    equalizing = await kept_spans({"sampling_percentage": 50, "mode": "equalizing"}, *spans)
    assert len(equalizing) == len(spans)
    (untouched,) = await kept_spans(
        {"sampling_percentage": 50, "mode": "equalizing"}, {"trace_id": b"\xff" * 16, "trace_state": "ot=th:c"}
    )
    assert untouched.trace_state == "ot=th:c"


@pytest.mark.parametrize(("value", "kept"), [(0, 0), (0.0, 0), ("0", 0), (1, 1), (2.5, 1), ("1", 1)])
@pytest.mark.parametrize("percentage", [0, 100])
async def test_sampling_priority_of_a_span_overrules_the_share(value: Any, kept: int, percentage: int) -> None:
    span = {"trace_id": b"\1" * 16, "attributes": {"sampling__priority": value}}
    assert len(await kept_spans({"sampling_percentage": percentage}, span)) == kept


@pytest.mark.parametrize("value", [-1, "high", True, "nan"])
async def test_a_sampling_priority_that_says_nothing_is_passed_over(value: Any) -> None:
    span = {"trace_id": b"\1" * 16, "attributes": {"sampling__priority": value}}
    assert len(await kept_spans({"sampling_percentage": 100}, span)) == 1
    assert len(await kept_spans({"sampling_percentage": 0}, span)) == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "span",
    [
        {"trace_id": b""},
        {"trace_id": bytes(16)},
        {"trace_id": b"\1" * 16, "trace_state": "ot=th:xyz"},
        {"trace_id": b"\1" * 16, "trace_state": "ot=nothing"},
        {"trace_id": b"\1" * 16, "trace_state": "ot=rv:1"},
        {"trace_id": b"\1" * 16, "trace_state": "a=" + "b" * 9000},
    ],
    ids=lambda span: str(span)[:40],
)
async def test_a_span_that_cannot_be_judged_follows_fail_closed(
    mode: str, span: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    options = {"sampling_percentage": 100, "mode": mode}
    assert await kept_spans(options, span, span) == []
    assert len(caplog.messages) == 1
    kept = await kept_spans({**options, "fail_closed": False}, span)
    assert [one.trace_state for one in kept] == [span.get("trace_state", "")]


async def test_a_threshold_that_contradicts_the_randomness_is_taken_away_when_the_span_is_kept() -> None:
    span = {"trace_id": b"\1" * 16, "trace_state": "ot=th:8,a=b"}
    assert await kept_spans({"sampling_percentage": 100, "mode": "proportional"}, span) == []
    options = {"sampling_percentage": 100, "mode": "proportional", "fail_closed": False}
    assert [one.trace_state for one in await kept_spans(options, span)] == ["a=b"]


async def test_hash_seed_does_not_leave_a_threshold_that_is_no_longer_true() -> None:
    span = {"trace_id": b"\xff" * 16, "trace_state": "ot=th:8;rv:9b8233f7e3a151"}
    assert [one.trace_state for one in await kept_spans({"sampling_percentage": 100}, span)] == ["ot=rv:9b8233f7e3a151"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_log_record_without_trace_id_needs_an_attribute_to_be_judged_by(mode: str) -> None:
    options = {"sampling_percentage": 50, "mode": mode}
    records = [{"body": "b", "attributes": {"id": f"id-{number}"}} for number in range(400)]
    assert await kept_logs(options, *records) == []
    assert len(await kept_logs({**options, "fail_closed": False}, *records)) == 400
    kept = await kept_logs({**options, "from_attribute": "id"}, *records)
    assert 150 < len(kept) < 250
    again = await kept_logs({**options, "from_attribute": "id"}, *records)
    assert [plain(one.attributes) for one in kept] == [plain(one.attributes) for one in again]
    assert plain(kept[0].attributes)["sampling.threshold"] == "8"
    assert int(plain(kept[0].attributes)["sampling.randomness"], 16) >= 0x80000000000000


async def test_attribute_source_record_lets_the_attribute_decide() -> None:
    options = {"sampling_percentage": 50, "attribute_source": "record", "from_attribute": "pod"}
    records = [{"trace_id": id, "attributes": {"pod": f"pod-{number % 10}"}} for number, id in enumerate(IDS[:200])]
    kept = await kept_logs(options, *records)
    pods = [plain(record.attributes)["pod"] for record in kept]
    assert pods
    assert all(pods.count(pod) == 20 for pod in pods)


@pytest.mark.parametrize(("value", "kept"), [(0, 0), (100, 1), (250.0, 1), ("100", 0), (-5, 0)])
async def test_sampling_priority_of_a_log_record_is_its_own_percentage(value: Any, kept: int) -> None:
    options = {"sampling_percentage": 0, "sampling_priority": "priority"}
    record = {"trace_id": b"\1" * 16, "attributes": {"priority": value}}
    assert len(await kept_logs(options, record)) == kept


async def test_a_priority_of_zero_drops_a_record_that_would_be_kept() -> None:
    options = {"sampling_percentage": 100, "sampling_priority": "priority"}
    assert await kept_logs(options, {"trace_id": b"\1" * 16, "attributes": {"priority": 0}}) == []


async def test_dropped_items_are_counted() -> None:
    context = make_context("probabilistic_sampler/tenth")
    processor, _ = build_processor(FACTORY, {"sampling_percentage": 0}, TRACES, context)
    assert await processor.consume(make_batch(traces({"trace_id": b"\1" * 16}))) == Accepted(dropped=1)
    name = "ares_otel_processor_dropped_spans_total"
    assert sample(context, name, processor="probabilistic_sampler/tenth") == 1


@pytest.mark.parametrize(
    ("probability", "precision", "encoded"),
    [(1.0, 4, "0"), (0.5, 4, "8"), (0.25, 4, "c"), (1 / 3, 4, "aaab"), (0.001, 4, "ffbe77"), (1 / 3, 1, "b")],
)
def test_thresholds_are_encoded_as_the_specification_says(probability: float, precision: int, encoded: str) -> None:
    assert encode_threshold(threshold_of(probability, precision)) == encoded


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 14))
def test_a_higher_probability_never_has_a_higher_threshold(one: float, other: float, precision: int) -> None:
    low, high = sorted((one, other))
    assert threshold_of(low, precision) >= threshold_of(high, precision)


@given(st.integers(0, NEVER - 1))
def test_a_threshold_survives_its_text(threshold: int) -> None:
    assert decode_threshold(encode_threshold(threshold)) == threshold
    assert 0 < probability_of(threshold) <= 1


@given(st.text(alphabet="ot=;:,rvhabc019 \t", max_size=60))
def test_any_trace_state_is_read_or_refused(text: str) -> None:
    try:
        state = TraceState(text)
    except SamplingError:
        return
    assert str(TraceState(str(state))) == str(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "sampling_percentage"),
        ({"sampling_percentage": -1}, "greater than or equal to 0"),
        ({"sampling_percentage": 1, "mode": "random"}, "hash_seed"),
        ({"sampling_percentage": 1, "attribute_source": "record"}, "needs from_attribute"),
        ({"sampling_percentage": 1, "sampling_precision": 15}, "less than or equal to 14"),
    ],
)
def test_a_wrong_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FACTORY.config.model_validate(options)
