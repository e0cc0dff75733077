"""Names of metrics: OTLP's in, Prometheus's out. Rows follow the rules of Prometheus's own translator."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_otel.model.prometheus.config import Strategy, TranslationConfig, Untranslatable
from ares_otel.model.prometheus.kinds import Kind, kind_of
from ares_otel.model.prometheus.metric_names import metric_name
from ares_otel.model.prometheus.units import UNIT_TABLES

SUFFIXED = TranslationConfig()
BARE = TranslationConfig(translation_strategy=Strategy.UNDERSCORES)
UTF8 = TranslationConfig(translation_strategy=Strategy.UTF8_WITH_SUFFIXES)
AS_IT_IS = TranslationConfig(translation_strategy=Strategy.NONE)
C, G, H, S = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.SUMMARY

NAMES = st.text(st.sampled_from("aZ09_.:/ -é漢") | st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.sampled_from(["total", "ratio", "seconds", "bytes", "per_second", "foo", "__", ".", "9", ""])
NAMED = NAMES | st.lists(WORDS, max_size=6).map("_".join) | st.lists(WORDS, max_size=6).map(".".join)
UNITS = st.sampled_from(["", "1", "s", "By", "By/s", "{x}", "m/m", "%", "kBy", "a/{b}", "/", "s/", "%/%"]) | NAMES
KINDS = st.sampled_from([C, G, H, S])


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", H, "http_server_request_duration_seconds"),
        ("requests.count", "1", C, "requests_count_total"),
        ("memory.usage", "By", G, "memory_usage_bytes"),
        ("system.network.io", "By/s", G, "system_network_io_bytes_per_second"),
        ("queue.length", "{message}", G, "queue_length"),
        ("cpu.utilization", "1", G, "cpu_utilization_ratio"),
        ("3xx.count", "", C, "_3xx_count_total"),
    ],
)
def test_the_vectors_of_the_specification(name: str, unit: str, kind: Kind, expected: str) -> None:
    assert metric_name(name, unit, kind, SUFFIXED) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("__foo..bar__", "foo_bar"), ("a__b", "a_b"), ("a:b", "a:b"), ("größe", "gr_e"), ("a b\tc", "a_b_c"), ("_a", "a")],
)
def test_runs_of_other_characters_are_one_underscore_and_none_is_left_at_the_ends(name: str, expected: str) -> None:
    assert metric_name(name, "", H, SUFFIXED) == expected


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        *((unit, f"x_{word}" if word else "x") for unit, word in UNIT_TABLES["1.0.0"].items()),
        ("kBy", "x_kBy"),
        ("By/{x}", "x_bytes"),
        ("{a}By", "x"),
        ("{a}/s", "x_per_second"),
        (" By / s ", "x_bytes_per_second"),
        ("By/s/s", "x_bytes_per_s_s"),
        ("m/m", "x_meters_per_minute"),
        ("J/w", "x_joules_per_week"),
        ("J/mo", "x_joules_per_month"),
        ("J/y", "x_joules_per_year"),
        ("J/h", "x_joules_per_hour"),
        ("J/d", "x_joules_per_day"),
        ("J/parsec", "x_joules_per_parsec"),
        ("furlongs", "x_furlongs"),
        ("a.b..c", "x_a_b_c"),
        ("/s", "x_per_second"),
        ("s/", "x_seconds"),
        ("/", "x"),
        ("", "x"),
    ],
)
def test_units_become_words(unit: str, expected: str) -> None:
    assert metric_name("x", unit, H, SUFFIXED) == expected


def test_the_table_of_units_has_versions() -> None:
    assert set(UNIT_TABLES) == {"1.0.0", "2"}
    second = TranslationConfig(unit_table="2")
    for unit, first_word, second_word in (("TiBy", "tibibytes", "tebibytes"), ("kBy", "kBy", "kilobytes")):
        assert metric_name("x", unit, H, SUFFIXED) == f"x_{first_word}"
        assert metric_name("x", unit, H, second) == f"x_{second_word}"
    changed = {unit for unit in UNIT_TABLES["2"] if UNIT_TABLES["1.0.0"].get(unit) != UNIT_TABLES["2"][unit]}
    assert changed == {"TiBy", "kBy"}
    with pytest.raises(ValueError, match=r"no table of units 3; use one of 1\.0\.0, 2"):
        TranslationConfig(unit_table="3")


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("io.bytes.sent", "By", "io_bytes_sent"),
        ("io.bytes", "By", "io_bytes"),
        ("io.kilobytes", "By", "io_kilobytes_bytes"),
        ("io.bytes_per_second", "By/s", "io_bytes_per_second_per_second"),
    ],
)
def test_a_unit_that_is_a_word_of_the_name_is_not_repeated_but_one_per_time_is(
    name: str, unit: str, expected: str
) -> None:
    assert metric_name(name, unit, G, SUFFIXED) == expected


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("foo.total.bytes", "By", "foo_bytes_total"),
        ("total.total", "", "total"),
        ("foo", "", "foo_total"),
        ("foo_total", "s", "foo_seconds_total"),
        ("foo", "By/s", "foo_bytes_per_second_total"),
    ],
)
def test_a_counter_ends_in_total_once(name: str, unit: str, expected: str) -> None:
    assert metric_name(name, unit, C, SUFFIXED) == expected


def test_a_gauge_of_unit_one_ends_in_ratio_once_and_nothing_else_does() -> None:
    assert metric_name("cpu.ratio.used", "1", G, SUFFIXED) == "cpu_used_ratio"
    assert metric_name("cpu", "1", H, SUFFIXED) == "cpu"
    assert metric_name("cpu.ratio", "1", C, SUFFIXED) == "cpu_ratio_total"
    assert metric_name("cpu", "1/s", G, SUFFIXED) == "cpu_per_second"


@pytest.mark.parametrize("name", ["", "_", "...", "é", "___"])
def test_a_name_of_which_nothing_is_left_is_refused(name: str) -> None:
    with pytest.raises(Untranslatable, match="Nothing is left of the metric's name"):
        metric_name(name, "", H, SUFFIXED)
    if name not in ("_", "___"):
        with pytest.raises(Untranslatable):
            metric_name(name, "", H, BARE)
    for config in (UTF8, AS_IT_IS):
        if not name:
            with pytest.raises(Untranslatable):
                metric_name(name, "", H, config)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("foo.total", "", C, "foo_total"),
        ("foo.bar", "s", H, "foo.bar_seconds"),
        ("foo.bar.seconds", "s", H, "foo.bar.seconds"),
        ("foo.bar", "By/s", C, "foo.bar_bytes_per_second_total"),
        ("foo.bytes.per_second.total", "By/s", C, "foo.bytes_per_second_total"),
        ("io.bytes_per_second", "By/s", G, "io.bytes_per_second"),
        ("cpu.ratio", "1", G, "cpu_ratio"),
        ("größe", "m", G, "größe_meters"),
        ("total", "", C, "total_total"),
        ("x", "a.b", G, "x_a.b"),
    ],
)
def test_without_escaping_suffixes_are_trimmed_and_appended(name: str, unit: str, kind: Kind, expected: str) -> None:
    assert metric_name(name, unit, kind, UTF8) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("foo.bar", "foo_bar"),
        ("foo..bar", "foo_bar"),
        ("foo__bar", "foo__bar"),
        ("foo._.bar", "foo___bar"),
        ("3xx", "_3xx"),
        (".foo.", "foo"),
        ("__", "__"),
    ],
)
def test_without_suffixes_underscores_stay_and_runs_of_other_characters_are_one(name: str, expected: str) -> None:
    assert metric_name(name, "s", C, BARE) == expected


@given(NAMED, UNITS, KINDS)
def test_no_translation_changes_nothing(name: str, unit: str, kind: Kind) -> None:
    if name:
        assert metric_name(name, unit, kind, AS_IT_IS) == name


@given(NAMED, UNITS, KINDS, st.sampled_from([SUFFIXED, BARE]))
def test_an_escaped_name_is_always_legal(name: str, unit: str, kind: Kind, config: TranslationConfig) -> None:
    try:
        made = metric_name(name, unit, kind, config)
    except Untranslatable:
        return
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", made)


@given(NAMED, UNITS, KINDS)
def test_a_counter_has_one_total_whatever_its_name(name: str, unit: str, kind: Kind) -> None:
    try:
        made = metric_name(name, unit, C, SUFFIXED)
    except Untranslatable:
        return
    assert made.endswith("total")
    assert "_total_total" not in made


@given(NAMED, KINDS)
def test_a_name_that_was_translated_stays_as_it_is(name: str, kind: Kind) -> None:
    """Without a unit: a unit of odd characters, or one per time, is appended again."""
    for config in (SUFFIXED, BARE):
        try:
            once = metric_name(name, "", kind, config)
        except Untranslatable:
            continue
        if config is SUFFIXED and once.startswith("_"):
            continue  # the underscore before a digit is no word: it is removed and added again
        assert metric_name(once, "", kind, config) == once


@pytest.mark.parametrize(
    ("metric_type", "temporality", "kind"),
    [
        ("counter", "cumulative", C),
        ("updowncounter", "cumulative", G),
        ("gauge", None, G),
        ("histogram", "cumulative", H),
        ("exponential_histogram", "cumulative", H),
        ("summary", None, S),
        ("counter", "delta", None),
        ("updowncounter", "delta", None),
        ("histogram", "delta", None),
        ("histogram", "7", None),
    ],
)
def test_types_are_told_by_type_and_temporality(metric_type: str, temporality: str | None, kind: Kind | None) -> None:
    assert kind_of(metric_type, temporality) is kind
