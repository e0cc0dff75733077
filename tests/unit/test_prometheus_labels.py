"""Labels: attributes of points, resources and scopes in, Prometheus's out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from ares_otel.model.prometheus.config import Strategy, TranslationConfig, Untranslatable
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.label_names import label_name
from ares_otel.model.prometheus.labels import (
    ResourceLabels,
    attribute_labels,
    resource_labels,
    scope_labels,
    series_labels,
)
from ares_otel.model.prometheus.type_and_unit import type_and_unit_labels
from ares_otel.model.prometheus.values import any_value_text, attribute_text
from tests.support.otlp_samples import any_value

DEFAULT = TranslationConfig()
COLLAPSING = TranslationConfig(label_name_preserve_multiple_underscores=False)
PERMISSIVE = TranslationConfig(label_name_underscore_sanitization=False)
UTF8 = TranslationConfig(translation_strategy=Strategy.NONE)
KEYS = st.text(st.sampled_from("aZ09_.:- é") | st.characters(exclude_categories=["Cs"]), max_size=12)
ORDERS = {"service.name": "orders", "service.namespace": "shop", "service.instance.id": "pod-1", "host.name": "kappa"}
NOBODY = ResourceLabels({}, {}, None)


@pytest.mark.parametrize(
    ("key", "preserved", "collapsed"),
    [
        ("http.method", "http_method", "http_method"),
        ("a..b", "a__b", "a_b"),
        ("a__b", "a__b", "a_b"),
        ("a:b", "a_b", "a_b"),
        ("größe", "gr__e", "gr_e"),
        ("a.", "a_", "a_"),
        ("__name__", "__name__", "__name__"),
        ("__a..b__", "__a__b__", "__a_b__"),
    ],
)
def test_illegal_characters_are_underscores_and_runs_stay_unless_told(key: str, preserved: str, collapsed: str) -> None:
    assert label_name(key, DEFAULT) == preserved
    assert label_name(key, COLLAPSING) == collapsed


@pytest.mark.parametrize(
    ("key", "expected", "permissive"),
    [
        ("3xx", "key_3xx", "key_3xx"),
        ("_private", "key_private", "_private"),
        (".private", "key_private", "_private"),
        ("__reserved", "__reserved", "__reserved"),
        ("é", "key_", None),
    ],
)
def test_a_label_begins_with_a_letter_or_two_underscores(key: str, expected: str, permissive: str | None) -> None:
    assert label_name(key, DEFAULT) == expected
    if permissive is None:
        with pytest.raises(Untranslatable):
            label_name(key, PERMISSIVE)
    else:
        assert label_name(key, PERMISSIVE) == permissive


@pytest.mark.parametrize("key", ["", "..", "éé", "!!!"])
def test_a_key_of_which_nothing_is_left_is_refused(key: str) -> None:
    with pytest.raises(Untranslatable, match="Nothing is left of the attribute's name"):
        label_name(key, DEFAULT)
    if not key:
        with pytest.raises(Untranslatable):
            label_name(key, UTF8)
    else:
        assert label_name(key, UTF8) == key


@given(KEYS, st.sampled_from([DEFAULT, COLLAPSING, PERMISSIVE]))
def test_a_label_is_always_legal_and_stays_when_it_is_translated_again(key: str, config: TranslationConfig) -> None:
    try:
        once = label_name(key, config)
    except Untranslatable:
        return
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", once)
    assert label_name(once, config) == once


def test_values_of_keys_that_become_one_are_joined_in_the_order_of_the_keys_and_that_is_counted() -> None:
    found = attribute_labels({"a_b": "third", "a.b": "second", "a-b": "first", "c": "x"}, DEFAULT)
    assert found.labels == {"a_b": "first;second;third", "c": "x"}
    assert found.collided == 1
    assert attribute_labels({"a": "1"}, DEFAULT).collided == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (True, "true"),
        (42, "42"),
        (1.5, "1.5"),
        (2.0, "2.0"),
        ([1, "a", None], '[1,"a",null]'),
        ({"k": [True]}, '{"k":[true]}'),
        (b"\x00\xff", "AP8="),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_values_of_other_types_become_text(value: Any, text: str) -> None:
    assert any_value_text(any_value(value)) == text
    if not isinstance(value, bytes | float):
        assert attribute_text(value) == text


def test_a_value_that_is_not_set_is_no_label() -> None:
    assert any_value_text(AnyValue()) == attribute_text(None) == ""
    assert attribute_labels({"empty": ""}, DEFAULT).labels == {}


@pytest.mark.parametrize("config", [DEFAULT, UTF8])
def test_the_reserved_name_is_dropped(config: TranslationConfig) -> None:
    assert attribute_labels({"__name__": "evil", "a": "1"}, config).labels == {"a": "1"}


def test_job_and_instance_override_attributes_of_their_name() -> None:
    labels = series_labels({"job": "nightly", "instance": "x"}, resource_labels(ORDERS, DEFAULT), {}, DEFAULT).labels
    assert (labels["job"], labels["instance"]) == ("shop/orders", "pod-1")
    assert series_labels({"job": "nightly"}, NOBODY, {}, DEFAULT).labels == {"job": "nightly"}


def test_attributes_stand_before_promoted_ones_these_before_external_and_scopes_before_all() -> None:
    config = TranslationConfig(
        promote_resource_attributes=("host.name", "zone"),
        promote_scope_metadata=True,
        external_labels=(("host_name", "external"), ("zone", "external"), ("cluster", "c1")),
    )
    resource = resource_labels({**ORDERS, "zone": "z"}, config)
    scope = scope_labels("lib", "", "", {}, config)
    labels = series_labels({"host.name": "point", "otel.scope.name": "point"}, resource, scope, config).labels
    assert labels == {
        "host_name": "point",
        "zone": "z",
        "cluster": "c1",
        "job": "shop/orders",
        "instance": "pod-1",
        "otel_scope_name": "lib",
    }


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"service.name": "a"}, {"job": "a"}),
        ({"service.name": "a", "service.namespace": "n"}, {"job": "n/a"}),
        ({"service.name": "a", "service.namespace": ""}, {"job": "a"}),
        ({"service.namespace": "n"}, {}),
        ({"service.instance.id": "i"}, {"instance": "i"}),
        ({}, {}),
    ],
)
def test_job_is_namespace_and_name_and_instance_the_instances_id(
    attributes: dict[str, str], expected: dict[str, str]
) -> None:
    assert resource_labels(attributes, DEFAULT).identity == expected


def test_target_info_has_what_does_not_identify() -> None:
    info = {"host_name": "kappa", "job": "shop/orders", "instance": "pod-1"}
    assert resource_labels(ORDERS, DEFAULT).info == info
    keeping = TranslationConfig(keep_identifying_resource_attributes=True)
    assert resource_labels(ORDERS, keeping).info == {
        **info,
        "service_name": "orders",
        "service_namespace": "shop",
        "service_instance_id": "pod-1",
    }


@pytest.mark.parametrize("attributes", [{"service.name": "a", "service.instance.id": "i"}, {"host.name": "kappa"}, {}])
def test_there_is_no_target_info_without_both_an_identity_and_something_else(attributes: dict[str, str]) -> None:
    assert resource_labels(attributes, DEFAULT).info is None


def test_resource_attributes_are_promoted_by_name_or_all_but_some() -> None:
    assert resource_labels(ORDERS, DEFAULT).promoted == {}
    some = TranslationConfig(promote_resource_attributes=("host.name", "absent"))
    assert resource_labels(ORDERS, some).promoted == {"host_name": "kappa"}
    most = TranslationConfig(
        promote_all_resource_attributes=True, ignore_resource_attributes=("service.name", "service.namespace")
    )
    assert resource_labels(ORDERS, most).promoted == {"host_name": "kappa", "service_instance_id": "pod-1"}


def test_ways_to_promote_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        TranslationConfig(promote_all_resource_attributes=True, promote_resource_attributes=("a",))
    with pytest.raises(ValueError, match="ignore_resource_attributes needs promote_all_resource_attributes"):
        TranslationConfig(ignore_resource_attributes=("a",))


def test_a_scope_is_labels_where_that_is_wanted() -> None:
    scoped = TranslationConfig(promote_scope_metadata=True)
    given_ = ("lib", "1.2", "https://schema", {"team.name": "blue", "name": "other"})
    assert scope_labels(*given_, DEFAULT) == {}
    assert scope_labels(*given_, scoped) == {
        "otel_scope_name": "lib",
        "otel_scope_version": "1.2",
        "otel_scope_schema_url": "https://schema",
        "otel_scope_team_name": "blue",
    }
    assert scope_labels("", "", "", {}, scoped) == {}


@pytest.mark.parametrize(
    ("kind", "unit", "expected"),
    [
        (Kind.COUNTER, "By/s", {"__type__": "counter", "__unit__": "bytes_per_second"}),
        (Kind.HISTOGRAM, "s", {"__type__": "histogram", "__unit__": "seconds"}),
        (Kind.GAUGE, "1", {"__type__": "gauge"}),
        (Kind.SUMMARY, "{call}/s", {"__type__": "summary", "__unit__": "per_second"}),
        (Kind.UNKNOWN, "", {}),
        (Kind.GAUGE, ".d.", {"__type__": "gauge", "__unit__": "days"}),  # Prometheus words it twice
    ],
)
def test_type_and_unit_are_labels_where_that_is_wanted(kind: Kind, unit: str, expected: dict[str, str]) -> None:
    assert type_and_unit_labels(kind, unit, "1.0.0") == expected


def test_an_empty_value_is_not_joined() -> None:
    assert attribute_labels({"a.b": "", "a_b": "x"}, DEFAULT).labels == {"a_b": "x"}
    assert attribute_labels({"a.b": "x", "a_b": ""}, DEFAULT).labels == {"a_b": "x;"}
