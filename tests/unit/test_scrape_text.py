"""Pages of text: what Prometheus takes is taken, what it refuses fails the page, with the line's number."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ares_otel.receivers.prometheus.page import MAX_HELP, Known, Page, WrongPage
from ares_otel.receivers.prometheus.text_page import read_text


def read(text: str, *, openmetrics: bool = False, known: Known | None = None) -> Page:
    return read_text(text.encode(), {} if known is None else known, openmetrics=openmetrics)


def samples(page: Page) -> list[tuple[str, dict[str, str], Any]]:
    return [(one.series.name, dict(one.series.labels), one.value) for one in page.samples]


GO = """\
# HELP go_gc_duration_seconds A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} 1.4742e-05
go_gc_duration_seconds{quantile="0.25"} 3.7158e-05
go_gc_duration_seconds{quantile="1"} 0.000173442
go_gc_duration_seconds_sum 0.000592413
go_gc_duration_seconds_count 9
# HELP go_info Information about the Go environment.
# TYPE go_info gauge
go_info{version="go1.26.2"} 1
# HELP http_request_duration_seconds Seconds.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{path="/",le="0.1"} 1
http_request_duration_seconds_bucket{path="/",le="+Inf"} 3
http_request_duration_seconds_sum{path="/"} 2.5
http_request_duration_seconds_count{path="/"} 3
"""

NODE = """\
# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 1.60348215e+06
node_cpu_seconds_total{cpu="0",mode="user"} 18523.87
# HELP node_filesystem_avail_bytes Filesystem space available to non-root users in bytes.
# TYPE node_filesystem_avail_bytes gauge
node_filesystem_avail_bytes{device="C:\\\\DATA",fstype="ntfs",mountpoint="/mnt/a \\"b\\""} 4.7e+10

# HELP node_uname_info Labeled system information as provided by the uname system call.
# TYPE node_uname_info gauge
node_uname_info{domainname="(none)",machine="x86_64",version="#1 SMP {x} Debian"} 1
# just a comment
node_load1 0.21 1700000000000
"""


def test_a_page_of_the_go_client_is_read() -> None:
    page = read(GO)
    assert page.families["go_gc_duration_seconds"].type == "summary"
    assert ("go_gc_duration_seconds", {"quantile": "0.25"}, 3.7158e-05) in samples(page)
    assert ("http_request_duration_seconds_bucket", {"path": "/", "le": "+Inf"}, 3.0) in samples(page)
    assert len(page.samples) == 10


def test_a_page_of_the_node_exporter_is_read() -> None:
    page = read(NODE)
    assert page.samples[3].series.name == "node_uname_info"
    assert dict(page.samples[3].series.labels)["version"] == "#1 SMP {x} Debian"
    assert dict(page.samples[2].series.labels) == {"device": "C:\\DATA", "fstype": "ntfs", "mountpoint": '/mnt/a "b"'}
    assert page.samples[4].time_ms == 1_700_000_000_000
    assert page.families["node_cpu_seconds_total"].help == "Seconds the CPUs spent in each mode."


@pytest.mark.parametrize(
    ("line", "name", "labels", "value"),
    [
        ("a 1", "a", {}, 1.0),
        ("  a  1 ", "a", {}, 1.0),
        ("a{} 1", "a", {}, 1.0),
        ('a{b="c"}1', "a", {"b": "c"}, 1.0),
        ('a { b = "c" , } +Inf', "a", {"b": "c"}, math.inf),
        ('a{b="}\\"\\n\\\\x\\y"} -.5e-3', "a", {"b": '}"\n\\x\\y'}, -0.0005),
        ('{"a.b","c d"="e",f="g"} 1', "a.b", {"c d": "e", "f": "g"}, 1.0),
        ('a{"ü"="☃"} 1', "a", {"ü": "☃"}, 1.0),
        ("a:b 1e3", "a:b", {}, 1000.0),
    ],
)
def test_a_line_is_read_as_prometheus_reads_it(line: str, name: str, labels: dict[str, str], value: float) -> None:
    assert samples(read(line)) == [(name, labels, value)]


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a1",
        "a b",
        "a 1 2 3",
        "a 1 1.5",
        "a 1_0",
        "a 0x1p3",
        "a 1 -5",
        "a 1 99999999999999999",
        'a{b="c" 1',
        'a{b="c} 1',
        "a{b=c} 1",
        "a{b} 1",
        'a{b="c"d="e"} 1',
        'a{b="c",b="d"} 1',
        'a{__name__="b"} 1',
        'a{""="b"} 1',
        '{b="c"} 1',
        '{""} 1',
        'a{"b"} 1',
        "1a 1",
        "ä 1",
        "a 1 # {} 1",
        "# TYPE a nonsense",
        "# TYPE 1a counter",
        "a 1\r",
    ],
)
def test_a_line_that_prometheus_refuses_fails_the_page(line: str) -> None:
    with pytest.raises(WrongPage, match=r"^line 2: "):
        read(f"good 1\n{line}\n")


def test_a_page_that_is_not_text_fails() -> None:
    with pytest.raises(WrongPage, match="line 2: it is not UTF-8"):
        read_text(b"a 1\nb\xff 1\n", {})
    with pytest.raises(WrongPage, match="line 2: it holds a NUL"):
        read('a 1\nb{c="\0"} 1\n')


def test_openmetrics_has_examples_starts_units_and_an_end() -> None:
    page = read(
        '# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n# HELP wait_seconds A \\"quoted\\" help\n'
        'wait_seconds_bucket{le="1.0"} 2 # {trace_id="4bf9"} 0.5 1700000000.25\n'
        'wait_seconds_bucket{le="+Inf"} 2\nwait_seconds_count 2\nwait_seconds_sum 1.5\nwait_seconds_created 1.6e9\n'
        "# TYPE a info\na_info 1 1700000000.5\n# TYPE c_created gauge\nc_created 5\n# EOF\n",
        openmetrics=True,
    )
    assert page.families["wait_seconds"] == ("wait_seconds", "histogram", 'A "quoted" help', "seconds")
    [example] = page.samples[0].exemplars
    assert example == ((("trace_id", "4bf9"),), 0.5, 1_700_000_000_250)
    assert page.created == {("wait_seconds", ()): 1.6e9}
    assert page.samples[-2].time_ms == 1_700_000_000_500
    assert page.samples[-1].series.name == "c_created", "a family of its own, which tells the start of none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1\n", "line 1: the page does not end in # EOF"),
        ("a 1\n# EOF\nb 1\n# EOF\n", "line 3: something stands behind # EOF"),
        ("a 1\n\n# EOF\n", "line 2: it is empty"),
        ("# a comment\n# EOF\n", "line 1: it begins with #"),
        ("# TYPE a untyped\n# EOF\n", "line 1: the type is not one of"),
        ("# UNIT a seconds\n# EOF\n", "line 1: the unit is not the end"),
        ("a 1 # nonsense\n# EOF\n", "line 1: the exemplar cannot be read"),
        (f'a 1 # {{a="{"b" * 128}"}} 1\n# EOF\n', "line 1: the labels of an exemplar have more than 128 characters"),
        ("a 1 nan\n# EOF\n", "line 1: the time is not a number"),
    ],
)
def test_openmetrics_is_stricter(text: str, message: str) -> None:
    with pytest.raises(WrongPage, match=message):
        read(text, openmetrics=True)


@pytest.mark.parametrize(
    "opening", ['a{b="', 'a{"', 'a{b="c",', '# HELP "', 'a 1 # {b="', "a{" + "{" * 9, '"', "a{b=" + "\\"]
)
def test_a_hostile_line_takes_time_in_proportion_to_its_length(opening: str) -> None:
    """An expression that backtracks would not end for minutes."""
    for rest in ('"x' * 100_000, "\\" * 200_001, 'b="c",' * 50_000, " " * 200_000, "{" * 200_000):
        with pytest.raises(WrongPage, match="line 1"):
            read(opening + rest)


@pytest.mark.parametrize("end", ["x", ".x", "e", "ex", ".0.", "e+"])
def test_a_value_that_is_no_number_after_all_takes_time_in_proportion_to_its_length(end: str) -> None:
    """It ran for days: each digit was tried on both sides of a dot that is not there."""
    for digits in ("1" * 500_000, "." + "1" * 500_000, "1." + "1" * 500_000):
        for line in (f"a {digits}{end}", f'a_total 1 # {{b="c"}} {digits}{end}\n# EOF'):
            with pytest.raises(WrongPage, match="line 1: the value is not a number"):
                read(line, openmetrics="EOF" in line)


def test_a_series_is_taken_apart_once() -> None:
    known: Known = {}
    first, second = read(NODE, known=known), read(NODE, known=known)
    assert [one.series for one in first.samples] == [one.series for one in second.samples]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a{" + ",".join(f'l{number}="x"' for number in range(257)) + "} 1", "more than 256 labels"),
        (f'a{{b="{"x" * 2**16}"}} 1', "more than 64 KiB"),
        (f'a{{b="{"☃" * 22_000}"}} 1', "more than 64 KiB"),
        ("a" * (2**16 + 1) + " 1", "more than 64 KiB"),
    ],
)
def test_a_series_of_more_than_is_taken_fails_the_page(line: str, message: str) -> None:
    with pytest.raises(WrongPage, match=message):
        read(line)


def test_a_description_that_is_too_long_is_cut() -> None:
    assert read("# HELP a " + "x" * 5000).families["a"].help == "x" * MAX_HELP


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\n\r"), max_size=12)
names = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)
values = st.floats(allow_nan=True, allow_infinity=True)


def written(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@given(
    st.lists(
        st.tuples(
            names.map(lambda name: f"m{name}"),
            st.dictionaries(names.filter(lambda name: name != "__name__"), texts, max_size=4),
            values,
            st.none() | st.integers(0, 2**42),
        ),
        max_size=8,
    )
)
def test_what_is_written_is_read(rows: list[tuple[str, dict[str, str], float, int | None]]) -> None:
    lines = []
    for name, labels, value, time in rows:
        inner = ",".join(f'{key}="{escaped(one)}"' for key, one in labels.items())
        lines.append(f"{name}{{{inner}}} {written(value)}" + ("" if time is None else f" {time}"))
    page = read("\n".join(lines))
    assert [(one.series.name, dict(one.series.labels), one.time_ms) for one in page.samples] == [
        (name, labels, time) for name, labels, _, time in rows
    ]
    assert [written(one.value) for one in page.samples if isinstance(one.value, float)] == [
        written(value) for _, _, value, _ in rows
    ]


@given(st.binary(max_size=200) | st.text('a{}"=,\\ 1#TYPEHELP\n\t', max_size=80).map(str.encode), st.booleans())
def test_anything_is_a_page_or_said_to_be_none(body: bytes, openmetrics: bool) -> None:
    with contextlib.suppress(WrongPage):
        read_text(body, {}, openmetrics=openmetrics)


def of_the_official_client() -> CollectorRegistry:
    registry = CollectorRegistry()
    orders = Counter("orders", 'Orders "placed" \\ total', ["kind"], registry=registry)
    orders.labels('a"b\\c').inc(3, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    Gauge("queue_size", "Waiting", unit="bytes", registry=registry).set(7)
    Histogram("wait_seconds", "Wait", ["m"], registry=registry).labels("GET").observe(0.3)
    Summary("size_bytes", "Size", registry=registry).observe(4)
    Info("build", "Build", registry=registry).info({"version": "1"})
    Enum("state", "State", states=["on", "off"], registry=registry).state("off")
    return registry


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_official_client_and_its_parser_agree(openmetrics: bool) -> None:
    registry = of_the_official_client()
    body = (generate_openmetrics if openmetrics else generate_latest)(registry)
    page = read_text(body, {}, openmetrics=openmetrics)
    families = list((parse_openmetrics if openmetrics else parse_text)(body.decode()))
    expected = [
        (one.name, one.labels, one.value)
        for family in families
        for one in family.samples
        if not (openmetrics and one.name.endswith("_created"))
    ]
    assert sorted(samples(page), key=str) == sorted(expected, key=str)
    if openmetrics:
        assert len(page.created) == 3
        assert {name: one.type for name, one in page.families.items()} == {one.name: one.type for one in families}
