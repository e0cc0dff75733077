"""The sampler that settings steer, against the SDK's own."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.span import TraceState

from ares_otel.control.sampling.glob import Glob
from ares_otel.control.sampling.strategy import INITIAL_RATIO
from ares_otel.sdk.remote.sampler import Limited, RemoteSampler
from tests.support.clock import FakeClock

STATE = TraceState([("vendor", "value")])
BASES = [ALWAYS_ON, ALWAYS_OFF, TraceIdRatioBased(0.5), ParentBased(ALWAYS_ON), ParentBased(TraceIdRatioBased(0.5))]
trace_ids = st.integers(1, 2**128 - 1)
kinds = st.sampled_from([None, *SpanKind])
ratios = st.floats(0, 1)
parents = st.one_of(
    st.none(),
    st.tuples(trace_ids, st.booleans(), st.booleans()),
)


def ask(sampler: Sampler, trace_id: int, parent: Any, name: str = "a", kind: SpanKind | None = None) -> SamplingResult:
    """What the sampler says of a span; `parent` is (trace id, remote, sampled) or None."""
    context = None
    if parent is not None:
        trace_id, remote, sampled = parent
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        context = set_span_in_context(NonRecordingSpan(SpanContext(trace_id, 1, remote, flags, STATE)))
    return sampler.should_sample(context, trace_id, name, kind, {"a": 1}, None, None)


def same(one: SamplingResult, other: SamplingResult) -> bool:
    return (one.decision, dict(one.attributes), one.trace_state) == (
        other.decision,
        dict(other.attributes),
        other.trace_state,
    )


@given(st.sampled_from(BASES), trace_ids, parents, kinds)
def test_without_settings_it_is_the_base_and_so_it_is_again_when_they_are_gone(
    base: Sampler, trace_id: int, parent: Any, kind: SpanKind | None
) -> None:
    sampler = RemoteSampler(base)
    for _ in range(2):
        assert same(ask(sampler, trace_id, parent, kind=kind), ask(base, trace_id, parent, kind=kind))
        assert sampler.get_description() == base.get_description()
        sampler.apply(0.25, [{"operation": "*", "ratio": 0}])
        assert sampler.get_description() != base.get_description()
        sampler.apply(None, [])


@given(st.sampled_from(BASES), ratios, trace_ids, parents)
def test_a_ratio_is_the_sdks_parent_based_ratio_whatever_the_base(
    base: Sampler, ratio: float, trace_id: int, parent: Any
) -> None:
    sampler = RemoteSampler(base)
    sampler.apply(ratio, None)
    expected = ParentBased(TraceIdRatioBased(ratio))
    assert same(ask(sampler, trace_id, parent), ask(expected, trace_id, parent))


rules = st.lists(
    st.fixed_dictionaries(
        {"operation": st.sampled_from(["GET *", "*", "job", "GET /a", "*/a"]), "ratio": st.sampled_from([0, 0.5, 1])},
        optional={"kind": st.sampled_from([None, "server", "internal", "consumer"])},
    ),
    min_size=1,
    max_size=4,
)


@given(
    st.sampled_from(BASES), st.one_of(st.none(), ratios), rules, trace_ids, parents,
    st.sampled_from(["GET /a", "GET /b", "job", "", "POST /a"]), kinds,
)  # fmt: skip
def test_the_first_rule_that_matches_decides_about_roots_and_children_follow_their_parents(
    base: Sampler, ratio: float | None, rules: list[Any], trace_id: int, parent: Any, name: str, kind: SpanKind | None
) -> None:
    sampler = RemoteSampler(base)
    sampler.apply(ratio, rules)
    for _ in range(2):  # the second time it is remembered
        result = ask(sampler, trace_id, parent, name, kind)
        if parent is not None:
            assert result.decision is (Decision.RECORD_AND_SAMPLE if parent[2] else Decision.DROP)
            assert result.trace_state == STATE
            continue
        expected: Sampler = base if ratio is None else TraceIdRatioBased(ratio)
        for rule in rules:
            wanted = rule.get("kind")
            fits = wanted is None or wanted == (kind or SpanKind.INTERNAL).name.lower()
            if fits and fnmatch.fnmatchcase(name, rule["operation"]):
                expected = TraceIdRatioBased(rule["ratio"])
                break
        assert same(result, ask(expected, trace_id, None, name, kind))


def test_names_without_end_are_not_remembered_without_end() -> None:
    sampler = RemoteSampler(ALWAYS_ON)
    sampler.apply(None, [{"operation": "keep*", "ratio": 0}])
    for number in range(2500):
        assert ask(sampler, 1, None, f"keep {number}").decision is Decision.DROP
    roots = sampler._current._root  # type: ignore[attr-defined]
    assert len(roots._remembered) <= 1000


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_star_stands_for_any_text_and_nothing_else_for_anything(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
    assert Glob(pattern).matches(text) is expected


@pytest.mark.parametrize("text", ["GET /a?b", "[a]", "a\nb", "{id}"])
def test_other_signs_of_patterns_are_themselves(text: str) -> None:
    assert Glob(text).matches(text)
    assert not Glob("?").matches("a")


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not Glob("a*" * 250 + "b").matches("a" * 100_000)  # a backtracking matcher would not end


def _kept(sampler: Sampler, name: str, count: int = 4000) -> list[SamplingResult]:
    ids = [(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128 for number in range(1, count + 1)]
    results = [sampler.should_sample(None, trace_id, name, SpanKind.SERVER, {"a": 1}) for trace_id in ids]
    return [result for result in results if result.decision is Decision.RECORD_AND_SAMPLE]


def test_a_probability_that_follows_the_load_is_told_on_the_span() -> None:
    sampler = RemoteSampler(ALWAYS_ON)
    sampler.apply(None, [{"operation": "GET /health", "ratio": 0}], adaptive={"GET /": 0.25, "GET /health": 1.0})
    kept = _kept(sampler, "GET /")
    assert len(kept) == pytest.approx(1000, rel=0.1)
    assert kept[0].attributes == {"a": 1, "jaeger.sampler.type": "probabilistic", "jaeger.sampler.param": 0.25}
    assert not _kept(sampler, "GET /health")
    new = _kept(sampler, "never seen")
    assert len(new) == pytest.approx(4000 * INITIAL_RATIO, rel=0.5)
    assert new[0].attributes is not None
    assert new[0].attributes["jaeger.sampler.param"] == INITIAL_RATIO
    sampler.apply(0.5, None, adaptive={})
    assert len(_kept(sampler, "never seen")) == pytest.approx(2000, rel=0.1)
    sampler.apply(None, None)
    assert sampler.get_description() == ALWAYS_ON.get_description()


def test_a_limit_lets_so_many_traces_begin() -> None:
    clock = FakeClock()
    sampler = Limited(7, clock)
    assert len(_kept(sampler, "any")) == 7
    clock.advance(0.5)
    assert len(_kept(sampler, "any")) == 3
    clock.advance(3600)
    assert len(_kept(sampler, "any")) == 7
    assert not _kept(Limited(0, clock), "any")


def test_a_limit_is_for_roots_and_instead_of_the_ratio() -> None:
    sampler = RemoteSampler(ALWAYS_ON)
    sampler.apply(0.5, None, limit=0)
    assert not _kept(sampler, "any")
    parent = set_span_in_context(NonRecordingSpan(SpanContext(1, 1, True, TraceFlags(1))))
    assert sampler.should_sample(parent, 1, "any").decision is Decision.RECORD_AND_SAMPLE
    before = sampler._limited
    sampler.apply(0.25, None, limit=0)  # another setting has changed: what is left of the second stays
    assert sampler._limited is before
    sampler.apply(1.0, [{"operation": "never", "ratio": 0}], limit=0)
    assert _kept(sampler, "any")
