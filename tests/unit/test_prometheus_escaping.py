"""Names for scrapers that do not take all of UTF-8, and which format a scraper gets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import exposition

from ares_otel.model.prometheus.escaping import Escaping, escape_label_name, escape_metric_name
from ares_otel.model.prometheus.negotiation import MAX_CLAUSES, Format, accepts_gzip, choose_format

NAMES = st.text(st.sampled_from("aZ09_.:/ -é漢") | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
SCHEMES = [Escaping.UNDERSCORES, Escaping.DOTS, Escaping.VALUES]
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9"
WITH_PROTOBUF = f"{PROTOBUF},{PROMETHEUS_3}"


@pytest.mark.parametrize(
    ("name", "underscores", "dots", "values"),
    [
        ("http_requests", "http_requests", "http__requests", "http_requests"),
        ("http.requests", "http_requests", "http_dot_requests", "U__http_2e_requests"),
        ("a_b.c", "a_b_c", "a__b_dot_c", "U__a__b_2e_c"),
        ("größe", "gr__e", "gr____e", "U__gr_f6__df_e"),
        ("9lives", "_lives", "__lives", "U___39_lives"),
        ("a:b", "a:b", "a:b", "a:b"),
    ],
)
def test_a_name_under_each_scheme(name: str, underscores: str, dots: str, values: str) -> None:
    assert [escape_metric_name(name, scheme) for scheme in SCHEMES] == [underscores, dots, values]
    assert escape_metric_name(name, Escaping.ALLOW_UTF8) == name


@given(NAMES, st.sampled_from(SCHEMES))
def test_an_escaped_name_is_always_legal(name: str, scheme: Escaping) -> None:
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", escape_metric_name(name, scheme))
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", escape_label_name(name, scheme))


@given(NAMES, st.sampled_from(SCHEMES))
def test_names_are_escaped_as_the_official_client_does(name: str, scheme: Escaping) -> None:
    assert escape_metric_name(name, scheme) == exposition.escape_metric_name(name, scheme.value)
    assert escape_label_name(name, scheme) == exposition.escape_label_name(name, scheme.value)


@given(NAMES)
def test_escaping_twice_is_escaping_once_where_that_can_be(name: str) -> None:
    for scheme in (Escaping.UNDERSCORES, Escaping.VALUES, Escaping.ALLOW_UTF8):
        once = escape_metric_name(name, scheme)
        assert escape_metric_name(once, scheme) == once


@given(NAMES, NAMES)
def test_values_keep_names_apart(one: str, other: str) -> None:
    escaped = {escape_metric_name(name, Escaping.VALUES) for name in (one, other) if not name.startswith("U__")}
    assert len(escaped) == len({one, other} - {name for name in (one, other) if name.startswith("U__")})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Format()),
        ("text/html", Format()),
        ("*/*", Format()),
        ("text/plain", Format()),
        ("text/plain; version=0.0.4; escaping=allow-utf-8", Format(escaping=Escaping.ALLOW_UTF8)),
        ("text/plain; version=1.0.0; escaping=allow-utf-8", Format(False, "1.0.0", Escaping.ALLOW_UTF8)),
        ("text/plain; version=7", Format()),
        ("application/openmetrics-text", Format(True, "1.0.0")),
        ("application/openmetrics-text; version=0.0.1", Format(True, "0.0.1")),
        ("application/openmetrics-text; version=2.0.0", Format()),
        ('APPLICATION/OpenMetrics-Text; Version="1.0.0"; escaping=dots', Format(True, "1.0.0", Escaping.DOTS)),
        ("application/openmetrics-text; escaping=values", Format(True, "1.0.0", Escaping.VALUES)),
        ("application/openmetrics-text; escaping=unknown", Format(True, "1.0.0")),
        ("application/openmetrics-text; q=0.1, text/plain; q=0.5", Format()),
        ("application/openmetrics-text; q=0, */*", Format()),
        ("application/openmetrics-text; q=x, text/plain; q=0.1", Format()),
        (PROMETHEUS_3, Format(True, "1.0.0", Escaping.ALLOW_UTF8)),
        (PROMETHEUS_2, Format(True, "1.0.0")),
        (WITH_PROTOBUF, Format(protobuf=True)),
        (f"{PROTOBUF};escaping=allow-utf-8", Format(escaping=Escaping.ALLOW_UTF8, protobuf=True)),
        (f"{PROTOBUF};encoding=text, text/plain", Format()),
        ("application/vnd.google.protobuf", Format()),
        (f"{PROTOBUF};q=0.1, application/openmetrics-text;q=0.2", Format(True, "1.0.0")),
        (", ;;, text/plain;;q=1", Format()),
        ("x," * MAX_CLAUSES + "application/openmetrics-text", Format()),
    ],
)
def test_the_best_format_that_there_is_is_chosen(accept: str, expected: Format) -> None:
    assert choose_format(accept) == expected


def test_the_content_type_names_version_and_escaping() -> None:
    assert Format().content_type == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    chosen = Format(True, "1.0.0", Escaping.ALLOW_UTF8).content_type
    assert chosen == "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    told = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=dots"
    assert Format(escaping=Escaping.DOTS, protobuf=True).content_type == told


@given(st.text(max_size=60) | st.text('aq=;,.01/*" ', max_size=60))
def test_any_header_is_answered(header: str) -> None:
    assert choose_format(header).content_type
    assert accepts_gzip(header) in (True, False)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("*, gzip;q=0", False),
        ("identity", False),
    ],
)
def test_gzip_is_used_where_it_is_accepted(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected
