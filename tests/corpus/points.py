"""Metric points that stand at an edge, contradict themselves, or come in an unusual form."""

from __future__ import annotations

from collections.abc import Callable

from tests.corpus.expected import DAY, NOW
from tests.corpus.exporters import Style, enveloped, token
from tests.corpus.oddities import DOUBLES, TEXTS, VALUES
from tests.support.wire import data, double, fixed32, fixed64, number

GO = Style()
WHEN = fixed64(2, NOW - DAY) + fixed64(3, NOW - 1)
GAUGE, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY = 5, 7, 9, 10, 11
CUMULATIVE = number(2, 2)


def metrics(*items: bytes) -> bytes:
    return enveloped(GO, {"meter": items})


def metric(kind: int, *content: bytes, name: str = "m", **more: str) -> bytes:
    """A metric: points and other fields of its data."""
    texts = GO.text(2, more.get("description", "")) + GO.text(3, more.get("unit", "1"))
    return data(2, GO.text(1, name), texts, data(kind, *content))


def point(*fields: bytes) -> bytes:
    """A point with these fields, in their order by number."""
    return data(1, *sorted((WHEN, *filter(None, fields)), key=lambda field: field[0] >> 3))


def labels(**values: object) -> bytes:
    """Attributes of a number point."""
    return GO.attributes(7, values)


def packed(field: int, *values: int) -> bytes:
    """Counts of a histogram."""
    return data(field, *(fixed64(1, value)[1:] for value in values))


def bounds(*values: float) -> bytes:
    return data(7, *(double(1, value)[1:] for value in values))


def histogram(count: int, counts: bytes, limits: bytes, *more: bytes) -> bytes:
    return metric(HISTOGRAM, point(fixed64(4, count), counts, limits, *more), CUMULATIVE)


def exponential(*fields: bytes) -> bytes:
    return metric(EXPONENTIAL, point(*fields), CUMULATIVE)


def buckets(field: int, offset: int, *counts: int) -> bytes:
    return data(field, number(1, offset << 1 ^ offset >> 63), data(2, *(number(1, count)[1:] for count in counts)))


def summary(*quantiles: bytes) -> bytes:
    return metric(SUMMARY, point(fixed64(4, 5), double(5, 1.5), *quantiles))


def exemplar(*fields: bytes) -> bytes:
    return data(5, fixed64(2, NOW), *fields)


NAN = float("nan")
METRICS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: metrics(data(2, data(1, "m")), metric(GAUGE), metric(HISTOGRAM, CUMULATIVE)),
    "a-metric-without-a-name": lambda: metrics(metric(GAUGE, point(), point(), name="")),
    "wrong-points-of-a-metric-without-a-name": lambda: metrics(
        metric(HISTOGRAM, point(fixed64(4, 7), packed(6, 1)), point(bounds(NAN)), CUMULATIVE, name="")
    ),
    "values": lambda: metrics(
        metric(GAUGE, point(), *(point(fixed64(6, value)) for value in (0, 1, 2**63 - 1, 2**63, 2**64 - 1))),
        metric(GAUGE, *(point(double(4, value)) for value in DOUBLES)),
        metric(GAUGE, *(point(fixed64(6, value)) for value in (2**53, 2**53 + 1, 2**54 + 3, 2**62 + 2**9 + 1))),
    ),
    "no-recorded-value": lambda: metrics(
        *(metric(GAUGE, point(*value, number(8, 1))) for value in ((), (fixed64(6, 3),), (double(4, 0.0),))),
        histogram(99, packed(6), bounds(), number(10, 1)),
        histogram(99, packed(6, 1), bounds(1.0, 0.5), number(10, 1), double(5, 2.0)),
        exponential(fixed64(4, 9), number(10, 1)),
        metric(SUMMARY, point(number(8, 1))),
    ),
    "flags": lambda: metrics(metric(GAUGE, *(point(number(8, flags)) for flags in (2, 3, 2**32 - 1)))),
    "flags-that-their-type-does-not-hold": lambda: metrics(metric(GAUGE, point(number(8, 2**33 + 2)))),
    "times": lambda: metrics(
        metric(GAUGE, *(data(1, fixed64(2, time), fixed64(3, time)) for time in (0, 1, NOW, NOW + 3 * DAY, 2**64 - 1)))
    ),
    "temporalities": lambda: metrics(
        *(
            metric(kind, data(1, WHEN), number(2, value))
            for kind in (SUM, HISTOGRAM, EXPONENTIAL)
            for value in (0, 1, 2, 3, 7, -1, 2**31 - 1)
        ),
        metric(SUM, point(), number(2, 1), number(3, 1)),
        metric(SUM, point(), number(2, 1), number(3, 0)),
        metric(SUM, point()),
    ),
    "series-that-are-one": lambda: metrics(
        metric(GAUGE, point(labels(a=1, b="x")), point(labels(b="x", a=1)), point(), point(labels())),
        metric(GAUGE, point(labels(a=1, b="x")), unit="s"),
        metric(GAUGE, point(labels(a=1, b="x"))),
    ),
    "labels": lambda: metrics(
        metric(GAUGE, *(point(labels(**{key: value})) for key, value in {**VALUES, **TEXTS}.items())),
        metric(GAUGE, point(labels(**VALUES)), point(labels(**TEXTS))),
    ),
    "metadata-and-texts": lambda: metrics(
        data(2, data(1, "m"), data(2, TEXTS["emoji"]), data(3, "{x}"), data(GAUGE, point()), GO.attributes(12, VALUES)),
        data(2, data(1, "m"), data(GAUGE, point()), GO.attributes(12, {"b": 1, "a": "x"})),
        data(2, data(1, "m"), data(GAUGE, point()), GO.attributes(12, {"a": "x", "b": 1})),
    ),
    "exemplars": lambda: metrics(
        metric(
            GAUGE,
            point(exemplar(), double(4, 1.0)),
            point(exemplar(double(3, 0.5), data(4, token("s", 8)), data(5, token("t", 16))), double(4, 1.0)),
            point(exemplar(fixed64(6, 2**64 - 1), data(4, b"\xff" * 9)), exemplar(fixed64(6, 7)), double(4, 1.0)),
            point(exemplar(double(3, NAN)), double(4, 1.0)),
            point(exemplar(double(3, 1.0), GO.attributes(7, {"b": b"\0"})), labels(a=1), double(4, 1.0)),
            point(exemplar(double(3, 1.0), GO.attributes(7, VALUES)), labels(a=1), number(8, 2), double(4, -0.0)),
        )
    ),
    "histograms": lambda: metrics(
        histogram(6, packed(6, 2, 1, 2, 1), bounds(0.05, 0.1, 0.25), double(5, 0.9), double(11, -1.0), double(12, 0.5)),
        histogram(0, b"", b"", double(5, 0.0)),
        histogram(4, b"", b"", double(5, 6.0)),
        histogram(4, b"", b""),
        histogram(3, packed(6, 3), b""),
        histogram(2**63 + 5, packed(6, 2**63 + 5), b"", double(5, 1e300)),
        histogram(2**64 - 1, packed(6, 2**64 - 2, 1), bounds(float("-inf")), double(5, NAN), double(11, NAN)),
        histogram(2**53 + 1, b"", b"", double(5, 1.0)),
        histogram(3, b"", b"", double(5, float("inf"))),
    ),
    "histograms-that-contradict-themselves": lambda: metrics(
        histogram(6, packed(6, 2, 1, 3), bounds(0.1, 0.2, 0.3)),
        histogram(6, packed(6, 6), bounds(0.1)),
        histogram(6, b"", bounds(0.1)),
        histogram(6, packed(6, 3, 3), bounds(NAN)),
        histogram(6, packed(6, 3, 3, 0), bounds(1.0, 1.0)),
        histogram(6, packed(6, 3, 3, 0), bounds(1.0, NAN)),
        histogram(6, packed(6, 3, 3, 0), bounds(0.0, -0.0)),
        histogram(7, packed(6, 3, 3), bounds(1.0)),
        histogram(1, packed(6, 2**63, 2**63, 1), bounds(1.0, 2.0)),
        histogram(0, packed(6, 2**63, 2**63), bounds(1.0)),
        metric(HISTOGRAM, point(fixed64(4, 1))),
    ),
    "exponential-histograms": lambda: metrics(
        exponential(fixed64(4, 7), double(5, 40.5), number(6, 6), fixed64(7, 1), buckets(8, -2, 1, 0, 3, 2)),
        exponential(fixed64(4, 3), number(6, 19), fixed64(7, 1), buckets(8, 0), buckets(9, 5, 2), double(14, 1e-9)),
        exponential(double(5, 0.0), double(12, 1.0), double(13, 2.0), data(8), data(9)),
        exponential(fixed64(4, 2**63), fixed64(7, 2**63)),
        exponential(fixed64(4, 2**63), buckets(8, -(2**31), 2**63), number(6, 40)),
        exponential(fixed64(4, 2), buckets(8, 2**31 - 2, 1, 1)),
    ),
    "exponential-histograms-that-contradict-themselves": lambda: metrics(
        *(exponential(number(6, scale << 1 ^ scale >> 31)) for scale in (-11, -10, 20, 21, 2**31 - 1, -(2**31))),
        exponential(fixed64(4, 8), fixed64(7, 1), buckets(8, 0, 1)),
        exponential(fixed64(4, 0), fixed64(7, 2**63), buckets(8, 0, 2**63)),
        exponential(fixed64(4, 2), buckets(8, 2**31 - 1, 1, 1)),
        exponential(fixed64(4, 2), buckets(9, 2**31 - 1, 1, 1)),
    ),
    "summaries": lambda: metrics(
        summary(),
        summary(data(6), data(6, double(1, 0.5), double(2, 2.0)), data(6, double(1, 1.0), double(2, NAN))),
        metric(SUMMARY, point()),
        metric(SUMMARY, point(fixed64(4, 2**63), double(5, 9.0))),
        *(summary(data(6, double(1, quantile))) for quantile in (1.1, -0.1, NAN, -0.0, 5e-324)),
    ),
    "points-of-two-types": lambda: metrics(
        data(2, data(1, "m"), data(GAUGE, point()), data(SUM, point(), number(2, 1)))
    ),
    "a-gauge-twice": lambda: metrics(data(2, data(1, "m"), data(GAUGE, point()), data(GAUGE, point()))),
    "two-values-in-a-point": lambda: metrics(metric(GAUGE, point(double(4, 1.0), fixed64(6, 1)))),
    "a-count-twice": lambda: metrics(histogram(1, b"", b"", fixed64(4, 2))),
    "counts-packed-and-not": lambda: metrics(
        histogram(6, packed(6, 1, 2) + fixed64(6, 2) + packed(6, 1), double(7, 0.1) + bounds(0.2, 0.3)),
        exponential(fixed64(4, 6), data(8, number(2, 1), data(2, b"\x02"), number(2, 3))),
    ),
    "counts-of-half-a-number": lambda: metrics(histogram(1, data(6, b"1234567"), b"")),
    "a-point-that-is-kept-in-another-order": lambda: metrics(
        metric(
            GAUGE, data(1, double(4, 1.0), exemplar(double(3, NAN)), WHEN), data(1, fixed64(6, 1), number(8, 1), WHEN)
        )
    ),
    "a-point-that-is-kept-with-defaults-written": lambda: metrics(
        metric(GAUGE, data(1, WHEN, exemplar(double(3, NAN)), number(8, 0)), data(1, fixed64(2, 0), WHEN, exemplar())),
    ),
    "unknown-fields": lambda: metrics(
        metric(GAUGE, point(number(77, 1))), data(2, data(1, "m"), data(GAUGE, point()), number(99, 1))
    ),
    "wrong-wire-types": lambda: metrics(metric(GAUGE, point(fixed32(4, 1), fixed64(8, 1)))),
    "nul-in-a-name": lambda: metrics(metric(GAUGE, point(), name="a\0")),
    "the-same-label-twice": lambda: metrics(metric(GAUGE, point(labels(a=1), labels(a=2)))),
    "invalid-utf8-in-a-unit": lambda: metrics(data(2, data(1, "m"), data(3, b"\xff"), data(GAUGE, point()))),
    "a-point-cut-short": lambda: metrics(metric(GAUGE, data(1, b"\x19\x00\x00"))),
}
BUILDERS = {f"metrics-{name}": build for name, build in METRICS.items()}
