"""What settings of a service say to clients, and the arithmetic of adaptive sampling."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.api.jaeger.proto import sampling_v2_pb2 as pb
from ares_otel.api.sampling.servicer import message_of
from ares_otel.control.sampling import keys
from ares_otel.control.sampling.calculate import (
    LEAST,
    SLICES,
    Group,
    Rate,
    chance_told,
    hasty_probability,
    next_probability,
    rate_of,
)
from ares_otel.control.sampling.strategy import INITIAL_RATIO, MAX_OPERATIONS, Strategy, Wishes

KNOWN = {"GET /health": {"server"}, "GET /orders": {"server"}, "poll": {"consumer"}, "job": {"internal", "server"}}


def told(values: dict[str, Any], known: Any = KNOWN, computed: Any = None, default: float = 1.0) -> dict[str, Any]:
    named = {f"sampling.{name}": value for name, value in values.items()}
    assert not [problem for key, value in named.items() if (problem := keys.problem_of("s", key, value))]
    return Wishes.of(named).strategy(default, known, computed).document()


def operations(document: dict[str, Any]) -> dict[str, float]:
    listed = document["operationSampling"]["perOperationStrategies"]
    return {one["operation"]: one["probabilisticSampling"]["samplingRate"] for one in listed}


def test_without_settings_the_default_is_told() -> None:
    assert told({}, default=0.5) == {
        "strategyType": "PROBABILISTIC",
        "probabilisticSampling": {"samplingRate": 0.5},
    }


def test_a_ratio_is_told() -> None:
    assert told({"ratio": 0.25})["probabilisticSampling"] == {"samplingRate": 0.25}
    assert "operationSampling" not in told({"ratio": 0})


def test_a_limit_is_told_instead_of_a_ratio() -> None:
    assert told({"ratio": 0.5, "max_traces_per_second": 10}) == {
        "strategyType": "RATE_LIMITING",
        "rateLimitingSampling": {"maxTracesPerSecond": 10},
    }


def test_beside_rules_a_limit_is_an_upper_bound() -> None:
    document = told({"max_traces_per_second": 10, "rules": [{"operation": "GET /health", "ratio": 0}]})
    assert document["strategyType"] == "PROBABILISTIC"
    assert document["operationSampling"]["defaultUpperBoundTracesPerSecond"] == 10.0


def test_a_lower_bound_is_told_also_without_rules() -> None:
    document = told({"ratio": 0.1, "lower_bound_traces_per_second": 0.5})
    assert document["operationSampling"] == {
        "defaultSamplingProbability": 0.1,
        "defaultLowerBoundTracesPerSecond": 0.5,
        "perOperationStrategies": [],
    }


def test_the_first_rule_that_fits_decides() -> None:
    rules = [{"operation": "GET /health*", "ratio": 0}, {"operation": "GET *", "ratio": 0.5}]
    document = told({"ratio": 0.1, "rules": rules})
    assert operations(document) == {"GET /health": 0.0, "GET /orders": 0.5}
    assert document["operationSampling"]["defaultSamplingProbability"] == 0.1


def test_a_rule_without_a_star_is_told_before_anybody_has_seen_the_operation() -> None:
    assert operations(told({"rules": [{"operation": "never seen", "ratio": 0.5}]}, known={})) == {"never seen": 0.5}


def test_a_rule_for_all_is_the_default() -> None:
    document = told({"ratio": 0.1, "rules": [{"operation": "poll", "ratio": 1}, {"operation": "*", "ratio": 0.01}]})
    assert document["operationSampling"]["defaultSamplingProbability"] == 0.01
    assert operations(document) == {"poll": 1.0}


def test_a_kind_is_that_of_the_known_operation() -> None:
    rules = [{"operation": "*", "ratio": 0, "kind": "consumer"}, {"operation": "job", "kind": "server", "ratio": 0.5}]
    assert operations(told({"rules": rules})) == {"poll": 0.0, "job": 0.5}


def test_what_follows_the_load_stands_behind_rules() -> None:
    rules = [{"operation": "GET /health", "ratio": 0}]
    computed = {"GET /health": 0.7, "GET /orders": 0.03}
    document = told({"target_traces_per_second": 1, "rules": rules}, computed=computed)
    assert operations(document) == {"GET /health": 0.0, "GET /orders": 0.03}
    assert document["operationSampling"]["defaultSamplingProbability"] == INITIAL_RATIO
    assert told({"target_traces_per_second": 1, "ratio": 0.2})["probabilisticSampling"] == {"samplingRate": 0.2}


def test_probabilities_that_were_computed_do_not_count_without_a_target() -> None:
    rules = [{"operation": "GET /health", "ratio": 0}]
    assert operations(told({"rules": rules}, computed={"GET /orders": 0.03})) == {"GET /health": 0.0}


def test_a_strategy_has_so_many_operations_and_not_more() -> None:
    known = {f"op {number}": {"server"} for number in range(3 * MAX_OPERATIONS)}
    assert len(operations(told({"rules": [{"operation": "op *", "ratio": 0}]}, known))) == MAX_OPERATIONS


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ratio", 1.5, "from 0 to 1"),
        ("ratio", True, "from 0 to 1"),
        ("ratio", "0.5", "from 0 to 1"),
        ("max_traces_per_second", -1, "whole number"),
        ("max_traces_per_second", 1.5, "whole number"),
        ("max_traces_per_second", 2**31, "2147483647"),
        ("target_traces_per_second", 0, "from 0.001"),
        ("target_traces_per_second", None, "from 0.001"),
        ("target_traces_per_second", 1e400, "from 0.001"),
        ("lower_bound_traces_per_second", -1, "from 0 to"),
        ("rules", {}, "a list"),
        ("rules", [{"operation": "x"}], "number 1"),
        ("rules", [{"operation": "", "ratio": 1}], "1 to 500"),
        ("rules", [{"operation": "x", "ratio": 2}], "from 0 to 1"),
        ("rules", [{"operation": "x", "ratio": 1, "kind": "SERVER"}], "internal, server"),
    ],
)
def test_a_wrong_value_is_explained(key: str, value: Any, says: str) -> None:
    assert says in (keys.problem_of("orders", f"sampling.{key}", value) or "")


strategies = st.builds(
    Strategy,
    st.floats(0, 1),
    st.none() | st.integers(0, keys.MOST_RATE),
    st.none() | st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), st.floats(0, 1))).map(tuple),
    st.floats(0, 1e6),
)


@given(strategies)
def test_json_and_protobuf_say_the_same(strategy: Strategy) -> None:
    parsed = json_format.Parse(strategy.json(), pb.SamplingStrategyResponse())
    assert parsed == pb.SamplingStrategyResponse.FromString(message_of(strategy))
    assert json.loads(strategy.json())["strategyType"] == pb.SamplingStrategyType.Name(parsed.strategyType)


# The arithmetic


def a_rate(offered: float, probability: float, seconds: float = 60.0) -> Rate:
    return Rate(offered * probability, offered, round(offered * probability * seconds), seconds)


@given(st.floats(0.1, 1e5), st.floats(LEAST, 1), st.floats(0.05, 1000))
def test_the_next_probability_is_one_and_in_the_right_direction(
    offered: float, probability: float, target: float
) -> None:
    after = next_probability(probability, a_rate(offered, probability), target)
    assert LEAST <= after <= 1
    if offered * probability > target:
        assert after <= probability * 1.000001
    else:
        assert after >= probability * 0.999999


@given(st.floats(1, 1e5), st.floats(0.5, 100), st.floats(LEAST, 1))
def test_one_change_downwards_hits_the_target(offered: float, target: float, probability: float) -> None:
    after = next_probability(probability, a_rate(offered, probability), target)
    if after < probability and after > LEAST:
        assert math.isclose(after * offered, target, rel_tol=1e-4)


def test_a_probability_grows_tenfold_at_most_and_doubles_in_silence() -> None:
    assert next_probability(0.001, a_rate(20, 0.001), 100) <= 0.01
    assert next_probability(0.001, Rate(0, 0, 0, 60), 10) == 0.002
    assert next_probability(0.9, Rate(0, 0, 0, 60), 10) == 1.0


def test_what_chance_makes_is_left_alone() -> None:
    assert next_probability(0.1, a_rate(11, 0.1), 1.0) == 0.1
    assert next_probability(0.1, Rate(4 / 60, 40 / 60, 4, 60), 5 / 60) == 0.1


def test_a_step_within_the_time_is_found() -> None:
    rate = rate_of([Group(0.1, 60.0, (10, 11, 9, 100, 98, 103))])
    assert rate.seconds == 30
    assert rate.sampled == pytest.approx(301 / 30)
    assert rate.offered == pytest.approx(3010 / 30)
    steady = rate_of([Group(0.1, 60.0, (10, 14, 7, 9, 12, 10))])
    assert steady.seconds == 60
    assert rate_of([Group(0.1, 60.0, (62,))]).sampled == pytest.approx(62 / 60)
    assert rate_of([Group(0.1, 60.0, (0,) * SLICES)]).offered == 0


def test_roots_count_for_those_that_were_not_kept() -> None:
    rate = rate_of([Group(0.1, 60.0, (60,)), Group(0.5, 30.0, (60,))])
    assert rate.sampled == pytest.approx(3)
    assert rate.offered == pytest.approx(14)


def test_before_clients_have_followed_only_what_is_sure_is_changed() -> None:
    unsure = a_rate(150, 0.1)  # under 0.1 it is off the target by half, under 0.2 it is not
    assert hasty_probability(0.1, 0.1, 0.2, unsure, 10) == 0.1
    sure = a_rate(1000, 0.1)
    assert hasty_probability(0.1, 0.1, 0.2, sure, 10) == pytest.approx(0.02)
    little = a_rate(10, 0.1)
    assert hasty_probability(0.1, 0.05, 0.1, little, 10) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("sampler", "parameter", "threshold", "chance"),
    [
        (None, None, None, None),
        ("probabilistic", "0.25", None, 0.25),
        ("traceidratio", "0.25", None, 0.25),
        ("probabilistic", "nan", None, None),
        ("probabilistic", "-1", None, None),
        ("probabilistic", "0", None, None),
        ("probabilistic", "1e309", None, None),
        ("probabilistic", "'; DROP TABLE", None, None),
        ("probabilistic", None, None, None),
        ("const", "true", None, 1.0),
        ("ratelimiting", "10", None, 0.0),
        ("lowerbound", "0.1", None, 0.0),
        ("something else", "0.1", None, None),
        (None, None, "8", 0.5),
        (None, None, "c", 0.25),
        (None, None, "0", 1.0),
        (None, None, "fd70a3d70a3d71", 0.01),
        ("probabilistic", "0.5", "c", 0.25),
    ],
)
def test_the_chance_that_a_span_tells(
    sampler: str | None, parameter: str | None, threshold: str | None, chance: float | None
) -> None:
    assert chance_told(sampler, parameter, threshold) == (chance if chance is None else pytest.approx(chance))
