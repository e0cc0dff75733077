"""Pieces of the remote control: events of a stream, known keys, levels, the interval of metrics."""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from ares_otel.sdk.remote.control import RemoteControl
from ares_otel.sdk.remote.events import Event, EventParser, TooLarge
from ares_otel.sdk.remote.keys import problem_of
from ares_otel.sdk.remote.levels import Levels
from ares_otel.sdk.remote.patience import Away, NotAres, Patience
from ares_otel.sdk.remote.reader import FlexibleMetricReader
from ares_otel.sdk.remote.registration import Registration
from ares_otel.sdk.remote.stamps import observe
from ares_otel.sdk.remote.watch import WatchedSettings

STREAM = (
    b"\xef\xbb\xbfretry: 1000\n\n"
    b'id: 7\nevent: snapshot\ndata: {"configs":[]}\n\n'
    b": still here\r\n\r\n"
    b"data\r\rid:8\revent:config\rdata:{\rdata:  }\r\r"
    b"event: nothing\n\n"
    b"data: last\nnobody: knows\n\n"
    b"data: cut"
)
EVENTS = [
    Event("snapshot", b'{"configs":[]}', "7"),
    Event("message", b"", ""),
    Event("config", b"{\n }", "8"),
    Event("message", b"last", ""),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    parser = EventParser()
    found: list[Event] = []
    places = sorted([0, *cuts, len(STREAM)])
    for start, end in itertools.pairwise(places):
        found += parser.feed(STREAM[start:end])
    assert found == EVENTS


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_a_stream(data: bytes, step: int) -> None:
    parser, whole = EventParser(), EventParser()
    found = [event for at in range(0, len(data), step) for event in parser.feed(data[at : at + step])]
    assert found == list(whole.feed(data))


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 60, b"x" * 60, b"data: xxxxxxxx\n", b"data\n", b": c" * 10])
def test_no_event_and_no_line_is_larger_than_the_bound(piece: bytes) -> None:
    parser = EventParser(limit=100)

    def feed() -> None:
        for _ in range(200):
            list(parser.feed(piece))

    with pytest.raises(TooLarge):
        feed()


def told(key: str, version: int, value: Any, *, deleted: bool = False) -> dict[str, Any]:
    """A change as the stream tells it; None is a secret."""
    secret = value is None
    found = {"key": key, "version": version, "deleted": deleted, "is_encrypted": secret}
    return found if secret or deleted else {**found, "value": value}


_values = st.sampled_from([1, 2, "x", [1], None])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "delete", "connect"]),
            st.sampled_from("ab"),
            _values,
        ),
        max_size=30,
    )
)
def test_changes_and_connections_in_any_order_end_in_what_ares_has(steps: list[tuple[str, str, Any]]) -> None:
    view = WatchedSettings("orders", "http://127.0.0.1:1")
    stored: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    for number, (what, key, value) in enumerate(steps, 1):
        if what == "set":
            stored[key] = value
            view._take_one(told(key, number, value), str(number))
        elif what == "delete":
            stored.pop(key, None)
            view._take_one(told(key, number, 1, deleted=True), str(number))
        else:
            rows = [{**told(name, 1, now), "config_key": name, "config_value": now} for name, now in stored.items()]
            view._take_all({"configs": rows, "revision": number})
        for name in "ab":
            if name not in stored:
                expected.pop(name, None)
            elif stored[name] is not None:  # of a secret, what was before stays
                expected[name] = stored[name]
        assert {name: view.get_json(name) for name in view.keys()} == expected  # noqa: SIM118
        assert view.newest_change == number


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("logging.level", ["debug", "info", "warn", "error"], ["DEBUG", "trace", 10, None, ["info"], {}]),
        ("logging.level.orders.db", ["debug"], ["verbose", False]),
        ("logging.level.", [], ["debug"]),
        ("logging.level.root", [], ["debug"]),
        ("sampling.ratio", [0, 1, 0.25, 1.0], [-0.1, 1.1, "0.5", True, None, 10**400, [1]]),
        ("metrics.interval", [0.1, 5, 86_400], [0, -1, 0.01, 10**9, "5", None, True]),
        (
            "sampling.rules",
            [[], [{"operation": "GET *", "ratio": 0.5}], [{"operation": "a", "ratio": 1, "kind": "server"}]],
            [
                {},
                "x",
                [1],
                [{}],
                [{"operation": "a"}],
                [{"operation": "", "ratio": 1}],
                [{"operation": "a" * 501, "ratio": 1}],
                [{"operation": 1, "ratio": 1}],
                [{"operation": "a", "ratio": 2}],
                [{"operation": "a", "ratio": 1, "kind": "SERVER"}],
                [{"operation": "a", "ratio": 1, "kind": ["server"]}],
                [{"operation": "a", "ratio": 1, "oops": 1}],
                [{"operation": "a", "ratio": 1}] * 101,
            ],
        ),
        ("own.key", [None, "x", 1, {}], []),
    ],
)
def test_known_keys_hold_what_they_can_mean(key: str, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if problem_of("orders", key, value)] == []
    for value in bad:
        problem = problem_of("orders", key, value)
        assert problem is not None, value
        assert problem.startswith(f"The value of orders/{key} must be ")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    name = "ares_otel_test.levels"
    yield logging.getLogger(name)
    logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_level_goes_back_when_its_setting_goes(logger: logging.Logger) -> None:
    logger.setLevel(logging.ERROR)
    levels = Levels()
    levels.apply({logger.name: logging.DEBUG})
    assert logger.level == logging.DEBUG
    levels.apply({logger.name: logging.INFO})
    assert logger.level == logging.INFO
    levels.apply({})
    assert logger.level == logging.ERROR
    levels.apply({})
    assert logger.level == logging.ERROR


def test_a_level_that_the_application_sets_stays_until_the_setting_changes(logger: logging.Logger) -> None:
    levels = Levels()
    levels.apply({logger.name: logging.DEBUG})
    logger.setLevel(logging.ERROR)  # the application
    levels.apply({logger.name: logging.DEBUG})  # another setting has changed
    assert logger.level == logging.ERROR
    levels.apply({logger.name: logging.INFO})  # somebody wants something else now
    assert logger.level == logging.INFO
    levels.apply({})
    assert logger.level == logging.ERROR, "what the application wanted last"
    levels.apply({logger.name: logging.DEBUG})
    logger.setLevel(logging.WARNING)
    levels.apply({})
    assert logger.level == logging.WARNING, "it is none of ours any more"


def test_the_root_has_the_empty_name() -> None:
    root, levels = logging.getLogger(), Levels()
    before = root.level
    try:
        levels.apply({"": logging.ERROR})
        assert root.level == logging.ERROR
    finally:
        levels.apply({})
    assert root.level == before


class Counting(MetricExporter):
    """Counts exports."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.closed = 0
        self.fails = False
        self.exported = threading.Semaphore(0)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self.count += 1
        self.exported.release()
        if self.fails:
            raise RuntimeError("no")
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.closed += 1


def provided(reader: FlexibleMetricReader) -> MeterProvider:
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("m").create_counter("c").add(1)
    return provider


def test_the_interval_of_metrics_changes_while_it_waits_and_goes_back() -> None:
    exporter = Counting()
    reader = FlexibleMetricReader(exporter, interval_millis=3_600_000)
    provider = provided(reader)
    reader.apply(0.1)
    for _ in range(3):
        assert exporter.exported.acquire(timeout=30)
    reader.apply(None)
    assert reader.interval == 3600
    provider.force_flush()
    flushed = exporter.count
    provider.shutdown()
    assert (exporter.count, exporter.closed) == (flushed + 1, 1), "one more collection at the end"


@pytest.mark.parametrize(
    ("variable", "expected"), [("250", 0.25), ("", 60), ("soon", 60), (None, 60), ("inf", math.inf)]
)
def test_the_environment_gives_the_interval(
    variable: str | None, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_METRIC_EXPORT_INTERVAL", raising=False)
    if variable is not None:
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", variable)
    reader = FlexibleMetricReader(Counting())
    try:
        assert reader.interval == expected
    finally:
        reader.shutdown()


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0 ms"):
        FlexibleMetricReader(Counting(), interval_millis=0)


def test_an_exporter_that_fails_does_not_end_the_collecting(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Counting()
    exporter.fails = True
    reader = FlexibleMetricReader(exporter, interval_millis=100)
    provider = provided(reader)
    for _ in range(2):
        assert exporter.exported.acquire(timeout=30)
    provider.shutdown()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_the_child_of_a_fork_collects_too() -> None:
    exporter = Counting()
    provider = provided(FlexibleMetricReader(exporter, interval_millis=100))
    child = os.fork()
    if child == 0:
        exporter.exported = threading.Semaphore(0)
        os._exit(0 if exporter.exported.acquire(timeout=30) else 1)
    _, status = os.waitpid(child, 0)
    provider.shutdown()
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_gauge_of_the_revision_has_a_point_when_it_is_known() -> None:
    reader, revision = InMemoryMetricReader(), 0
    provider = MeterProvider([reader], shutdown_on_exit=False)
    observe(provider, lambda: revision)
    assert reader.get_metrics_data() is None
    revision = 41
    data = reader.get_metrics_data()
    assert data is not None
    [metric] = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "ares.config.revision"
    assert [point.value for point in metric.data.data_points] == [41]  # type: ignore[union-attr]
    provider.shutdown()


def test_attempts_become_rare_and_rarer_where_something_else_answers() -> None:
    patience = Patience()
    away = [patience.seconds(Away()) for _ in range(40)]
    wrong = [patience.seconds(NotAres()) for _ in range(40)]
    assert away[0] < 0.2
    assert max(away) <= 6.5
    assert wrong[0] >= 20
    assert max(wrong) <= 780
    patience.restore()
    assert patience.seconds(Away()) < 0.2


@pytest.mark.parametrize("both", [{}, {"api_url": "http://127.0.0.1:1", "database_url": "postgresql://x"}])
def test_one_source_has_to_be_named(both: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give api_url or database_url"):
        RemoteControl("orders", **both)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "", "http://[", "http://"])
def test_a_wrong_url_is_said_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="ARES_OTEL_API_URL"):
        RemoteControl("orders", api_url=url)


@pytest.mark.parametrize("metadata", [{"a": object()}, {"a": float("nan")}, {1: {2}}])
def test_metadata_that_is_no_json_is_refused_at_once(metadata: Any) -> None:
    with pytest.raises(ValueError, match="metadata of a service must be JSON"):
        Registration(Resource({}), api_url="http://127.0.0.1:1", metadata=metadata)


def test_one_registry_has_to_be_named() -> None:
    with pytest.raises(ValueError, match="give api_url or database_url"):
        Registration(Resource({}))
