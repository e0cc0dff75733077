"""The `debug` exporter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ares_otel.exporters.debug import FACTORY
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import Rejected
from ares_otel.model.signal import TRACES
from ares_otel.pipeline.component import BuildContext
from tests.support.parts import logs, make_batch, make_context, metrics, traces


class StandingClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now


async def written(capsys: pytest.CaptureFixture[str], options: dict[str, Any], batch: Batch) -> list[str]:
    exporter = FACTORY.build(make_context("debug"), FACTORY.config.model_validate(options))
    await exporter.start()
    assert await exporter.consume(batch) == Accepted(batch.items)
    await exporter.stop()
    return capsys.readouterr().err.splitlines()


async def test_basic_writes_one_line_with_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert await written(capsys, {}, make_batch(traces({"name": "a"}, {"name": "b"}))) == [
        "debug: traces: resources: 1, spans: 2"
    ]
    assert await written(capsys, {}, make_batch(logs({"body": "a"}))) == ["debug: logs: resources: 1, log records: 1"]
    assert await written(capsys, {}, make_batch(metrics({}))) == ["debug: metrics: resources: 1, metric points: 1"]


async def test_normal_writes_one_line_an_item(capsys: pytest.CaptureFixture[str]) -> None:
    span = {
        "name": "GET /",
        "trace_id": b"\1" * 16,
        "span_id": b"\2" * 8,
        "start_time_unix_nano": 1_000_000,
        "end_time_unix_nano": 2_500_000,
        "attributes": {"code": 200, "tags": ["a"], "raw": b"\xff"},
    }
    assert await written(capsys, {"verbosity": "normal"}, make_batch(traces(span))) == [
        "debug: traces: resources: 1, spans: 1",
        "debug: resource service.name=shop",
        "debug:   scope tests",
        f"debug:     GET / {'01' * 16} {'02' * 8} 1.5ms code=200 tags=[1 values] raw=ff",
    ]
    record = logs({"body": "hello", "severity_text": "WARN", "attributes": {"k": "v"}})
    assert (await written(capsys, {"verbosity": "normal"}, make_batch(record)))[-1] == "debug:     WARN hello k=v"
    points = metrics({"as_int": 1}, {"as_int": 2})
    last = (await written(capsys, {"verbosity": "normal"}, make_batch(points)))[-1]
    assert last == "debug:     requests sum  data points: 2"


async def test_detailed_writes_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    request = traces({"name": "a", "kind": 2, "status": {"code": 2, "message": "boom"}, "attributes": {"k": {"a": 1}}})
    request.resource_spans[0].scope_spans[0].spans[0].events.add(name="e", time_unix_nano=5)
    lines = await written(capsys, {"verbosity": "detailed"}, make_batch(request))
    for line in (
        "name: a",
        "kind: 2",
        "status",
        "  message: boom",
        "attributes",
        "  k: {1 keys}",
        "  time_unix_nano: 5",
    ):
        assert f"debug:       {line}" in lines
    points = metrics({"as_int": 7, "attributes": {"route": "/"}})
    assert "debug:           as_int: 7" in await written(capsys, {"verbosity": "detailed"}, make_batch(points))


@pytest.mark.parametrize("verbosity", ["normal", "detailed"])
async def test_hostile_text_neither_forges_a_line_nor_steers_the_terminal(
    verbosity: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "a\r\ndebug: forged\x1b[2J\u202e\x9b31m\u2028\x00\\n"
    request = logs({"body": hostile, "severity_text": hostile, "attributes": {hostile: hostile}})
    honest = logs({"body": "a", "severity_text": "a", "attributes": {"a": "a"}})
    lines = await written(capsys, {"verbosity": verbosity}, make_batch(request))
    assert all(line.isprintable() for line in lines)
    assert len(lines) == len(await written(capsys, {"verbosity": verbosity}, make_batch(honest)))
    assert not any(line.startswith("debug: forged") for line in lines)


async def test_a_large_batch_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    request = traces(*({"name": "n" * 1000, "attributes": {f"k{n}": "v" for n in range(100)}} for _ in range(1200)))
    lines = await written(capsys, {"verbosity": "normal"}, make_batch(request))
    assert len(lines) == 1001
    assert lines[-1] == "debug: …"
    assert max(map(len, lines)) < 1000


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 10),
        ({"sampling_thereafter": 0}, 2),
        ({"sampling_initial": 1, "sampling_thereafter": 3}, 4),
        ({"sampling_initial": 0, "sampling_thereafter": 0}, 0),
    ],
)
async def test_sampling_writes_the_first_of_each_second_and_then_every_nth(
    options: dict[str, Any], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = StandingClock()
    context: BuildContext = replace(make_context("debug"), clock=clock)
    exporter = FACTORY.build(context, FACTORY.config.model_validate(options))
    for second in (10.0, 11.5):
        clock.now = second
        for _ in range(10):
            assert await exporter.consume(make_batch(traces({"name": "a"}))) == Accepted(1)
        assert len(capsys.readouterr().err.splitlines()) == expected


async def test_what_cannot_be_decoded_is_refused() -> None:
    exporter = FACTORY.build(make_context("debug"), FACTORY.config.model_validate({}))
    batch = Batch(TRACES, b"\xff", received_ns=1, receiver="otlp", transport="grpc")
    with pytest.raises(Rejected):
        await exporter.consume(batch)
