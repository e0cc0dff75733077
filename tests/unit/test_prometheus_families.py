"""Whatever is sent together, an answer to a scrape is one that Prometheus can read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ares_otel.model.prometheus.config import Strategy, TranslationConfig
from ares_otel.model.prometheus.escaping import Escaping
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.verbatim import SCOPE_NAME
from ares_otel.query.ingested import Gathering, LeftOut, Wanted
from ares_otel.query.live_series import LivePage, Resource, Scope, Series
from tests.support.exposition_messages import families_of, labels_of
from tests.support.otlp_samples import exponential_point, histogram_point, number_point, summary_point

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
POINTS: dict[str, Any] = {
    "gauge": lambda: number_point(1.5),
    "counter": lambda: number_point(2),
    "updowncounter": lambda: number_point(-3),
    "histogram": histogram_point,
    "exponential_histogram": exponential_point,
    "summary": summary_point,
}
CUMULATIVE = ("counter", "updowncounter", "histogram", "exponential_histogram")
NAMES = st.sampled_from(
    [
        *("a", "a.", "a_b", "a.b", "a:b", "a.total", "a_total", "a.total_total", "a.count", "a.sum", "a.bucket"),
        *("a.created", "target", "target.info", "target_info", "größe", "___", "ares_otel_exposition_left_out_series"),
    ]
)
LABELS = st.dictionaries(
    st.sampled_from(["x", "x.y", "x_y", "x-y", "le", "quantile", "job", "aé.é", "__name__"]),
    st.sampled_from(["", "1", 'a"b\n\\']),
    max_size=3,
)
RESOURCES = [
    {"service.name": "orders", "host.name": "kappa"},
    {"service.name": "orders", "host.name": "lambda", "x.y": "2"},
    {"service.name": "billing"},
]
UNITS = st.sampled_from(["", "1", "s", "By/s"])
TOLD = st.sampled_from([None, None, "", "counter", "gauge", "histogram", "info", "stateset", "unknown"])
"""None: by OTLP; else from a Prometheus, with that type."""
SERIES = st.tuples(NAMES, st.sampled_from(sorted(POINTS)), UNITS, LABELS, st.integers(0, 2), TOLD, st.integers(0, 5))
PROMETHEUS = UUID(int=1)
FORMATS = [
    *(Format(escaping=scheme) for scheme in (Escaping.UNDERSCORES, Escaping.DOTS, Escaping.VALUES)),
    *(Format(True, "1.0.0", scheme) for scheme in Escaping),
]


def answer(sent: Sequence[Any], wanted: Wanted) -> tuple[str, LeftOut]:
    """The text for series that are all live, and what it leaves out."""
    made, left_out = body(sent, wanted)
    return made.decode(), left_out


def body(sent: Sequence[Any], wanted: Wanted) -> tuple[bytes, LeftOut]:
    """The same in any format."""
    gathering = Gathering(wanted)
    gathering.definitions.scopes[PROMETHEUS] = Scope(SCOPE_NAME, "", "", {})
    for number, attributes in enumerate(RESOURCES):
        gathering.definitions.resources[UUID(int=number)] = Resource(attributes, NOON + timedelta(hours=number))
    page = [
        Series(
            series_id=UUID(int=number),
            metric_name=name,
            metric_type=kind,
            unit=unit,
            description=f"{name} of {number}",
            temporality="cumulative" if kind in CUMULATIVE else None,
            attributes=labels,
            resource_id=UUID(int=resource),
            scope_id=None if told is None else PROMETHEUS,
            service_name=RESOURCES[resource]["service.name"],
            first_seen=NOON + timedelta(hours=hours),
            prometheus_type=told or "",
        )
        for number, (name, kind, unit, labels, resource, told, hours) in enumerate(sent)
    ]
    chosen = gathering.choose(page)
    gathering.add(LivePage([(series, POINTS[series.metric_type]()) for series in chosen]))
    made = gathering.finish()
    return b"".join(made.chunks()), made.left_out


UNKNOWN_BELOW_ZERO = ("a_total", "updowncounter", "", {"x": "1"}, 0, "", 0)
COUNTER_BELOW_ZERO = ("a_total", "updowncounter", "", {"x": "2"}, 0, "counter", 1)
COUNTER = ("a_total", "counter", "", {"x": "3"}, 0, None, 2)
OPENMETRICS = Format(True, "1.0.0", Escaping.UNDERSCORES)
read_openmetrics: Callable[[str], Any] = parse_openmetrics


@settings(max_examples=150)
@example([COUNTER_BELOW_ZERO], Strategy.UNDERSCORES_WITH_SUFFIXES, OPENMETRICS)
@example([UNKNOWN_BELOW_ZERO, COUNTER], Strategy.UNDERSCORES_WITH_SUFFIXES, OPENMETRICS)
@given(st.lists(SERIES, max_size=12), st.sampled_from(Strategy), st.sampled_from(FORMATS))
def test_an_answer_has_each_family_and_each_sample_once_and_is_read_by_the_official_parsers(
    sent: Sequence[Any], strategy: Strategy, format_: Format
) -> None:
    config = TranslationConfig(translation_strategy=strategy, label_name_underscore_sanitization=True)
    text, left_out = answer(sent, Wanted(config, format_))
    types = re.findall(r"^# TYPE (\"(?:[^\"\\]|\\.)*\"|\S+) ", text, re.MULTILINE)
    assert len(types) == len(set(types))
    for word in ("HELP", "UNIT"):
        told = re.findall(rf"^# {word} (\S+) ", text, re.MULTILINE)
        assert len(told) == len(set(told)) <= len(types)
    families = list((parse_openmetrics if format_.openmetrics else parse_text)(text))
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines)) or format_.openmetrics  # exemplars stand behind the value there
    by_otlp = all(series[5] is None for series in sent)
    if by_otlp and not format_.openmetrics:
        assert not [family.name for family in families if family.type in ("unknown", "untyped")]
    if (
        by_otlp or format_.openmetrics
    ):  # in the plain format the parser gives a counter `a` of Prometheus a sample `a_total`
        samples = Counter(
            (sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples
        )
        assert max(samples.values(), default=1) == 1
        names = [name for family in families for name in {sample.name for sample in family.samples}]
        assert len(names) == len(set(names)), "two families have a sample of one name"
    assert left_out.conflicts + left_out.duplicates + left_out.untranslatable <= len(sent) + 1
    assert not sent or families


@settings(max_examples=100)
@given(st.lists(SERIES, max_size=12), st.sampled_from(Strategy), st.sampled_from(Escaping))
def test_an_answer_in_protobuf_has_each_family_and_each_metric_once(
    sent: Sequence[Any], strategy: Strategy, escaping: Escaping
) -> None:
    """And leaves out as much as the text."""
    config = TranslationConfig(translation_strategy=strategy)
    data, left_out = body(sent, Wanted(config, Format(escaping=escaping, protobuf=True)))
    found = families_of(data)
    for family in found.values():
        labels = [tuple(labels_of(metric).items()) for metric in family.metric]
        assert len(labels) == len(set(labels))
        native = [metric.HasField("histogram") and not metric.histogram.bucket for metric in family.metric]
        assert list(zip(native, labels, strict=True)) == sorted(zip(native, labels, strict=True))
        assert all(list(pairs) == sorted(set(pairs)) for pairs in labels)
    assert left_out == body(sent, Wanted(config, Format(escaping=escaping)))[1]


@given(st.lists(SERIES, max_size=12), st.randoms())
def test_the_answer_does_not_depend_on_the_order_in_which_series_are_met(sent: Sequence[Any], random: Any) -> None:
    """Up to what one moment of birth leaves open: which series of two that appeared together is told."""
    sent = [(*series[:-1], number) for number, series in enumerate(sent)]
    mixed = list(sent)
    random.shuffle(mixed)
    config = TranslationConfig()
    one, other = (
        re.sub(r"(?m)^(# HELP .*| .*)$|( [-\d.e+]+)$", "", answer(order, Wanted(config))[0]) for order in (sent, mixed)
    )
    assert one == other


def typed(text: str) -> dict[str, str]:
    """The types of an answer, but those about itself."""
    found = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text)
    return {name: kind for name, kind in found if not name.startswith(("ares_otel_", "target"))}


def lines(text: str, name: str) -> list[str]:
    """The lines of samples that have the name."""
    return [line for line in text.splitlines() if re.match(rf"{name}\b", line)]


@pytest.mark.parametrize("first", ["unknown", "typed"])
@pytest.mark.parametrize(("name", "kind"), [("a_total", "counter"), ("a", "counter"), ("a", "gauge")])
def test_numbers_of_unknown_type_join_the_counter_or_gauge_of_their_name(first: str, name: str, kind: str) -> None:
    unknown, later = (0, 1) if first == "unknown" else (1, 0)
    sent = [
        (name, "gauge", "", {"x": "1"}, 0, "", unknown),
        (name, kind, "s", {"x": "2"}, 1, kind, later),
        (name, kind, "s", {"x": "3"}, 1, kind, later),
    ]
    config = TranslationConfig()
    text, left_out = answer(sent, Wanted(config))
    assert typed(text) == {name: kind}
    assert len(lines(text, name)) == 3
    assert left_out == LeftOut()
    if first == "unknown":
        assert f"# HELP {name} {name} of 1\n" in text  # what is said beside the type

    text, left_out = answer(sent, Wanted(config, OPENMETRICS))
    [family] = [family for family in read_openmetrics(text) if family.name in ("a", "a_total")]
    assert family.type == ("unknown" if (name, kind) == ("a", "counter") else kind)
    assert {sample.labels["x"] for sample in family.samples if sample.name == name} == {"1", "2", "3"}
    assert left_out == LeftOut()

    data, left_out = body(sent, Wanted(config, Format(protobuf=True), timestamps=True))
    metrics = families_of(data)[name].metric
    assert {labels_of(metric)["x"]: metric.HasField(kind) for metric in metrics} == {"1": True, "2": True, "3": True}
    assert not any(metric.HasField("untyped") for metric in metrics)
    value = getattr(next(metric for metric in metrics if labels_of(metric)["x"] == "1"), kind).value
    assert value == 1.5
    assert all(metric.timestamp_ms for metric in metrics)
    assert left_out == LeftOut()


def test_a_series_that_is_there_with_a_type_and_without_one_is_told_once() -> None:
    sent = [("a", "gauge", "", {"x": "1"}, 0, told, number) for number, told in enumerate(("", "gauge", ""))]
    for format_ in (Format(), OPENMETRICS):
        text, left_out = answer(sent, Wanted(TranslationConfig(), format_))
        assert (typed(text), len(lines(text, "a"))) == ({"a": "gauge"}, 1)
        assert left_out == LeftOut(duplicates=2)


def test_numbers_of_unknown_type_join_one_of_two_types_and_no_histogram() -> None:
    sent = [
        ("a", "gauge", "", {"x": "1"}, 0, "", 0),
        ("a", "histogram", "", {"x": "2"}, 0, "histogram", 1),
        ("a", "counter", "", {"x": "3"}, 0, "counter", 2),
        ("a", "gauge", "", {"x": "4"}, 0, "gauge", 3),
    ]
    text, left_out = answer(sent, Wanted(TranslationConfig()))
    assert (typed(text), len(lines(text, "a"))) == ({"a": "counter"}, 2)
    assert left_out == LeftOut(conflicts=2)


def test_a_counter_below_zero_is_of_unknown_type_in_openmetrics_and_stands_beside_no_counter() -> None:
    for number in (UNKNOWN_BELOW_ZERO, COUNTER_BELOW_ZERO):
        text, left_out = answer([number], Wanted(TranslationConfig(), OPENMETRICS))
        assert (typed(text), len(lines(text, "a_total"))) == ({"a_total": "unknown"}, 1)
        assert left_out == LeftOut()
    sent = [UNKNOWN_BELOW_ZERO, COUNTER_BELOW_ZERO, COUNTER]
    text, left_out = answer(sent, Wanted(TranslationConfig(), OPENMETRICS))
    assert (typed(text), len(lines(text, "a_total"))) == ({"a": "counter"}, 1)
    assert left_out == LeftOut(conflicts=2)
    text, left_out = answer(sent, Wanted(TranslationConfig()))
    assert (typed(text), len(lines(text, "a_total"))) == ({"a_total": "counter"}, 3)
    assert left_out == LeftOut()
