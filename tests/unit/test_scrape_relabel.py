"""Relabelling: each action as Prometheus's documentation describes it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ares_otel.receivers.prometheus.relabel import MAX_LABEL_BYTES, RelabelConfig, relabel

A = {"a": "foo", "b": "bar", "c": "baz"}


@pytest.mark.parametrize(
    ("rules", "labels", "made"),
    [
        (
            [{"source_labels": ["a"], "target_label": "d", "regex": "f(.*)", "replacement": "ch${1}-ch$1"}],
            A,
            {**A, "d": "choo-choo"},
        ),
        (
            [
                {"source_labels": ["a", "b"], "target_label": "a", "regex": "f(.*);(.*)r", "replacement": "b${1}${2}m"},
                {
                    "source_labels": ["c", "a"],
                    "target_label": "d",
                    "regex": "(b).*b(.*)ba(.*)",
                    "replacement": "$1$2$2$3",
                },
            ],
            A,
            {"a": "boobam", "b": "bar", "c": "baz", "d": "boooom"},
        ),
        ([{"source_labels": ["a"], "regex": "o", "action": "drop"}], A, A),  # anchored
        ([{"source_labels": ["a"], "regex": "f|o", "action": "drop"}], A, A),
        ([{"source_labels": ["a"], "regex": ".*o.*", "action": "drop"}], A, None),
        ([{"source_labels": ["a"], "regex": "no-match", "action": "keep"}], A, None),
        ([{"source_labels": ["a"], "regex": "f.*", "action": "KEEP"}], A, A),
        ([{"source_labels": ["a"], "regex": "no-match", "target_label": "d"}], A, A),
        ([{"source_labels": ["missing"], "target_label": "d", "replacement": "static"}], A, {**A, "d": "static"}),
        ([{"target_label": "d", "replacement": "static"}], A, {**A, "d": "static"}),
        ([{"source_labels": ["missing"], "target_label": "a"}], A, {"b": "bar", "c": "baz"}),  # an empty value is none
        ([{"source_labels": ["a", "b"], "separator": "/", "target_label": "d"}], A, {**A, "d": "foo/bar"}),
        (
            [
                {
                    "source_labels": ["a"],
                    "regex": "(?P<first>f)(o+)",
                    "target_label": "${first}_$2",
                    "replacement": "$$-${first}-$3-$x",
                }
            ],
            A,
            {**A, "f_oo": "$-f--"},
        ),
        ([{"source_labels": ["a"], "regex": "(f).*", "target_label": "d", "replacement": "$1x"}], A, A),  # a group `1x`
        (
            [{"regex": "(b.*)", "action": "labelmap", "replacement": "bar_${1}"}],
            {"a": "1", "b1": "2"},
            {"a": "1", "b1": "2", "bar_b1": "2"},
        ),
        ([{"regex": "__meta_(my_.*)", "action": "labelmap"}], {"__meta_my_x": "1"}, {"__meta_my_x": "1", "my_x": "1"}),
        ([{"regex": "(b.*)", "action": "labeldrop"}], {"a": "1", "b1": "2", "cb": "3"}, {"a": "1", "cb": "3"}),
        ([{"regex": "(b.*)", "action": "labelkeep"}], {"a": "1", "b1": "2"}, {"b1": "2"}),
        ([{"source_labels": ["a"], "target_label": "d", "action": "uppercase"}], A, {**A, "d": "FOO"}),
        ([{"source_labels": ["a"], "target_label": "a", "action": "lowercase"}], {"a": "FoO"}, {"a": "foo"}),
        (
            [{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}],
            {"a": "1", "b": "1"},
            {"a": "1", "b": "1"},
        ),
        ([{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}], {"a": "1", "b": "2"}, None),
        ([{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}], {"a": "1", "b": "1"}, None),
        ([{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}], {"a": "1"}, {"a": "1"}),
        ([{"source_labels": ["a"], "regex": "x.y", "action": "keep"}], {"a": "x\ny"}, {"a": "x\ny"}),
    ],
)
def test_a_rule_does_what_prometheus_documents(
    rules: list[dict[str, Any]], labels: dict[str, str], made: dict[str, str] | None
) -> None:
    assert relabel(labels, [RelabelConfig(**rule) for rule in rules]) == made


def test_hashmod_spreads_as_prometheus_does() -> None:
    """The last eight bytes of MD5, so that targets stay with the server that had them."""
    rule = RelabelConfig(source_labels=("c",), target_label="d", action="hashmod", modulus=1000)
    assert relabel(A, [rule]) == {**A, "d": "976"}
    digest = hashlib.md5(b"a\nb").digest()
    rule = RelabelConfig(source_labels=("a",), target_label="d", action="hashmod", modulus=2**64 - 1)
    made = relabel({"a": "a\nb"}, [rule])
    assert made is not None
    assert made["d"] == str(int.from_bytes(digest[8:], "big") % (2**64 - 1))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "nonsense"}, "Input should be"),
        ({"action": "replace"}, "the action replace needs target_label"),
        ({"action": "hashmod", "target_label": "a"}, "needs a modulus"),
        ({"regex": "(a", "target_label": "b"}, "not a regular expression"),
        ({"regex": "(?=a)", "target_label": "b"}, "not a regular expression"),
        ({"regex": "a" * 5000, "target_label": "b"}, "at most 4096"),
        ({"action": "labeldrop", "source_labels": ["a"], "regex": "b"}, "does not use source_labels"),
        ({"action": "keepequal", "target_label": "a", "regex": "b"}, "does not use regex"),
        ({"action": "lowercase", "target_label": "a$1"}, "cannot hold a group"),
        ({"target_label": "a", "nonsense": 1}, "Extra inputs"),
    ],
)
def test_a_rule_that_says_nothing_sensible_is_an_error(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RelabelConfig(**rule)


def test_rules_in_a_row_cannot_make_a_label_grow_without_end() -> None:
    rule = RelabelConfig(source_labels=("a",), regex="(?s)(.*)", target_label="a", replacement="$1" * 100)
    made = relabel({"a": "x" * 100}, [rule] * 20)
    assert made is not None
    assert len(made["a"]) <= MAX_LABEL_BYTES


@given(st.text(max_size=30), st.text("$1{}ab", max_size=20))
def test_any_value_and_template_make_some_label(value: str, template: str) -> None:
    made = relabel({"a": value}, [RelabelConfig(source_labels=("a",), target_label="b", replacement=template)])
    assert made is not None
    if template == "$1" and value:
        assert made["b"] == value
