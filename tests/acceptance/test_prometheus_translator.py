"""Names are those of the library that Prometheus uses for its own OTLP endpoint, case by case."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ares_otel.model.prometheus.config import Strategy, TranslationConfig, Untranslatable
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.label_names import label_name
from ares_otel.model.prometheus.metric_names import metric_name
from ares_otel.model.prometheus.type_and_unit import unit_label
from ares_otel.model.prometheus.units import PER_UNITS, UNIT_TABLES
from tests.support import otlp_translator

pytestmark = pytest.mark.timeout(otlp_translator.BUILD_SECONDS + 120)

KINDS = (Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.SUMMARY)
PIECES = [
    *(
        "a",
        "Z",
        "0",
        "9",
        "_",
        "__",
        ".",
        "..",
        ":",
        "/",
        "-",
        " ",
        "\t",
        "é",
        "漢",
        "😀",
        "\x00",
        "\x1f",
        "\u00a0",
        "\u2003",
    ),
    *("total", "ratio", "seconds", "bytes", "second", "per", "per_second", "http", "request", "count", "sum", "bucket"),
]
ODD_NAMES = [
    *(
        "",
        "_",
        "__",
        "___",
        "____",
        "_____",
        "0",
        "9a",
        "a",
        "total",
        "ratio",
        "_total",
        "total_total",
        "a_total_total",
    ),
    *("foo.total.bytes", "__foo..bar__", "io.bytes_per_second", "3xx.count", "größe", "a:b", ":", "1:", "seconds"),
    *(
        "http.server.request.duration",
        "foo_seconds",
        "xtotal",
        "ratioratio",
        "per_second",
        "bytes.per.second",
        "é",
        "٣a",
    ),
]
ODD_UNITS = [
    *("", "1", "/", "s/", "/s", "//", "{}", "{", "}", "{a}By", "By{a}", "By/{x}", "{x}/s", " By / s ", "By/s/s", "1/s"),
    *(
        "%",
        "%/%",
        "m/m",
        "mo",
        "w",
        "kBy",
        "TiBy",
        "a.b..c",
        "_a_",
        "__",
        "a/_b_",
        "_/_",
        "é",
        "µs",
        "\u00a0s\u00a0",
        "°C",
    ),
    *("\x1fs", "\x85s", "d/.d.", ".d.", "per_second", "s/ratio", "total", "1/1", "ratio", "a b", "m^2", "kg.m/s2"),
]
ODD_KEYS = [
    *(
        "",
        "_",
        "__",
        "___",
        "____",
        "_____",
        "______",
        "_a",
        "__a",
        "__a__",
        "__a",
        "a__",
        "a..b",
        "a._b",
        "1",
        "1a",
        "٣",
    ),
    *("__1__", "__.__", "__a..b__", "___a___", "job", "__name__", "é", "éa", "a:b", ".", "..", "._", "_.", "key_", "a"),
]


@pytest.fixture(scope="module")
def library() -> Path:
    try:
        return otlp_translator.install()
    except otlp_translator.UnavailableError as error:
        pytest.skip(str(error))


def made_up(seed: int, number: int) -> Iterator[str]:
    """Texts of some pieces, the same at each run."""
    choice = random.Random(seed)
    for _ in range(number):
        joined = choice.choice(["", "_", "."])
        yield joined.join(choice.choices(PIECES, k=choice.randint(1, 5)))


def units() -> list[str]:
    table = [*UNIT_TABLES["1.0.0"], "kBy"]
    per = [f"{unit}/{time}" for unit in ("By", "1", "{x}", "x") for time in PER_UNITS]
    return [*table, *per, *ODD_UNITS, *made_up(1, 60)]


def ours(build: Any, *arguments: Any) -> str | None:
    try:
        return str(build(*arguments))
    except Untranslatable:
        return None


def test_metrics_are_named_as_by_prometheus(library: Path) -> None:
    choice = random.Random(2)
    names = [*ODD_NAMES, *made_up(3, 400)]
    cases = [(name, unit, kind) for name in ODD_NAMES for unit in ("", "1", "s", "By/s") for kind in KINDS]
    cases += [(name, unit, kind) for unit in units() for name in ("x", "x.seconds_total") for kind in KINDS]
    cases += [(name, choice.choice(units()), choice.choice(KINDS)) for name in names for _ in range(3)]
    asked = [
        {"name": name, "unit": unit, "type": str(kind), "strategy": str(strategy)}
        for strategy in Strategy
        for name, unit, kind in cases
    ]
    found = otlp_translator.ask(library, metrics=asked)["metrics"]
    expected = [
        ours(metric_name, name, unit, kind, TranslationConfig(translation_strategy=strategy))
        for strategy in Strategy
        for name, unit, kind in cases
    ]
    assert len(asked) > 5000
    found = [name or None for name in found]  # the library lets names through that are empty; no Prometheus takes them
    assert [pair for pair in zip(asked, expected, found, strict=True) if pair[1] != pair[2]] == []


def test_labels_are_named_as_by_prometheus(library: Path) -> None:
    keys = [*ODD_KEYS, *made_up(4, 400)]
    switches = list(itertools.product(keys, (False, True), (False, True), (False, True)))
    asked = [
        {"key": key, "utf8": utf8, "sanitize": sanitize, "preserveUnderscores": preserve}
        for key, utf8, sanitize, preserve in switches
    ]
    found = otlp_translator.ask(library, labels=asked)["labels"]
    expected = [
        ours(
            label_name,
            key,
            TranslationConfig(
                translation_strategy=Strategy.NONE if utf8 else Strategy.UNDERSCORES,
                label_name_underscore_sanitization=sanitize,
                label_name_preserve_multiple_underscores=preserve,
            ),
        )
        for key, utf8, sanitize, preserve in switches
    ]
    assert [pair for pair in zip(asked, expected, found, strict=True) if pair[1] != pair[2]] == []


def test_units_are_worded_as_by_prometheus(library: Path) -> None:
    asked = units()
    found = otlp_translator.ask(library, units=[{"unit": unit} for unit in asked])["units"]
    expected = [unit_label(unit, "1.0.0") for unit in asked]
    assert [pair for pair in zip(asked, expected, found, strict=True) if pair[1] != pair[2]] == []
