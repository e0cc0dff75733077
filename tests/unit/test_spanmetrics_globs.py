"""Dimensions of `spanmetrics` that a pattern names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.connectors.spanmetrics.config import SpanMetricsConfig
from ares_otel.connectors.spanmetrics.globs import KNOWN_NAMES, Globs
from tests.support.spanmetrics import CALLS, DURATION, Place


@pytest.mark.parametrize(
    ("glob", "matched", "others"),
    [
        ("k8s.*.name", ["k8s.pod.name", "k8s..name"], ["k8s.pod.x.name", "k8s.name", "xk8s.pod.name"]),
        ("db.**.name", ["db.a.name", "db.a.b.name", "db..name"], ["db.name"]),
        ("db.**", ["db.", "db.a", "db.a.b", "db.\n"], ["db"]),
        ("a?c", ["abc", "aäc"], ["a.c", "ac", "abbc"]),
        ("[a-c]x[!0-9]", ["axa", "cx-", "bx."], ["dxa", "ax5"]),
        ("http.{method,status_{code,text}}", ["http.method", "http.status_text"], ["http.status_", "http.methods"]),
        ("a\\*b,(c)|^$", ["a*b,(c)|^$"], ["axb,(c)|^$"]),
    ],
)
def test_a_glob_matches_whole_names_and_a_dot_separates(glob: str, matched: list[str], others: list[str]) -> None:
    globs = Globs([glob])
    assert [name for name in matched + others if globs.match(name)] == matched


@given(name=st.text(max_size=20))
def test_a_name_without_special_characters_matches_itself_only(name: str) -> None:
    glob = "".join(f"\\{one}" if one in "\\*?[]{}," else one for one in name)
    assert Globs([glob]).match(name)
    assert not Globs([glob]).match(name + "x")


@given(glob=st.text(alphabet="ab.*?[]!-{},\\^()|", max_size=20), name=st.text(alphabet="ab.", max_size=8))
def test_any_text_is_a_glob_or_refused_with_a_sentence(glob: str, name: str) -> None:
    try:
        globs, said = Globs([glob]), ""
    except ValueError as error:
        globs, said = None, str(error)
    assert globs is None or globs.match(name) in (True, False)
    assert globs is not None or "glob" in said


def test_names_are_remembered_up_to_a_limit() -> None:
    globs = Globs(["a*"])
    for number in range(KNOWN_NAMES + 10):
        assert globs.match(f"a{number}")
    assert not globs.match("b" * 100_000)
    assert len(globs._known) <= 10


async def test_each_attribute_that_a_glob_matches_is_a_dimension_the_spans_before_the_resources() -> None:
    place = Place(dimensions=[{"glob": "k8s.*.name"}], calls_dimensions=[{"name": "region"}, {"glob": "http.**"}])
    await place.see(
        {"attributes": {"k8s__pod__name": "of the span", "http__method": "GET", "http__route__id": 5}},
        {"attributes": {"k8s__node__name": "n", "region": "mars"}},
        resource={"service__name": "shop", "k8s__pod__name": "of the resource", "k8s__pod__uid": "u"},
    )
    found = await place.flush()

    def own(name: str) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in labels.items() if key.startswith(("k8s", "http", "region"))}
            for labels, _ in found[name]
        ]

    assert own(CALLS) == [
        {"k8s.pod.name": "of the span", "http.method": "GET", "http.route.id": 5},
        {"region": "mars", "k8s.node.name": "n", "k8s.pod.name": "of the resource"},
    ]
    assert own(DURATION) == [
        {"k8s.pod.name": "of the span"},
        {"k8s.node.name": "n", "k8s.pod.name": "of the resource"},
    ]


async def test_series_of_a_glob_are_told_apart_by_names_and_types() -> None:
    place = Place(dimensions=[{"glob": "a.*"}])
    values: list[dict[str, Any]] = [{"a__b": 1}, {"a__c": 1}, {"a__b": "1"}, {"a__b": 1, "a__c": 1}, {"a__b": 1}]
    await place.see(*({"attributes": one} for one in values))
    assert [point.as_int for _, point in (await place.flush())[CALLS]] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": [{}]}, "either a name or a glob"),
        ({"dimensions": [{"name": "a", "glob": "b"}]}, "either a name or a glob"),
        ({"dimensions": [{"glob": "a*", "default": "x"}]}, "cannot have a default"),
        ({"dimensions": [{"glob": "service.*"}]}, "matches 'service.name', which is a dimension already"),
        ({"dimensions": [{"name": "a.b"}], "calls_dimensions": [{"glob": "a.*"}]}, "matches 'a.b'"),
        ({"dimensions": [{"glob": "[z-a]"}]}, "is not a glob"),
        ({"dimensions": [{"glob": "[a"}]}, "without a ]"),
        ({"dimensions": [{"glob": "{a"}]}, "without a }"),
        ({"dimensions": [{"glob": "a\\"}]}, "ends with a backslash"),
        ({"dimensions": [{"glob": "sampling.*"}], "enable_metrics_sampling_method": True}, "'sampling.method'"),
        ({"metric_timestamp_cache_size": 5}, "there is no such cache: deltas begin where the last ones ended"),
    ],
)
def test_globs_that_say_nothing_or_too_much_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("?", r"\?")):
        SpanMetricsConfig.model_validate(options)
