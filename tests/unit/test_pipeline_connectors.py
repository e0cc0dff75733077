"""Connectors in pipelines: what the file may say, what they are told of, and how they live."""

from __future__ import annotations

import asyncio

import pytest

from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import InFlight, Rejected, Retryable, StartError, Unavailable
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.following import Keys
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.load import load_bytes
from ares_otel.pipeline.problem import ConfigError
from ares_otel.pipeline.wiring import upstream_first
from tests.support import parts
from tests.support.toys import TOYS, World, some_turns, span_names, trace_batch, until


def config(
    pipelines: str,
    *,
    connectors: str = "{link: }",
    exporters: str = "{store: , send: {retry_on_failure: {enabled: false}}}",
) -> PipelineConfig:
    text = f"""
receivers: {{toy: , toy/b: }}
processors: {{mark: , mark/b: }}
connectors: {connectors}
exporters: {exporters}
service:
  pipelines:
    {pipelines}
"""
    return load_bytes(text.encode(), "ares.yaml", TOYS, {})


def problems(pipelines: str, *, connectors: str = "{link: }", exporters: str = "{store: , send: }") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(pipelines, connectors=connectors, exporters=exporters)
    return [one.message for one in caught.value.problems if not one.warning]


SPANS = "traces: {receivers: [toy], exporters: [store, link]}\n    "
POINTS = "metrics: {receivers: [link], exporters: [store]}"
BOTH = SPANS + POINTS


async def started(world: World, what: PipelineConfig) -> PipelineHost:
    host = PipelineHost(world.parts(), grace=Grace(5))
    await host.replace(what)
    return host


def metric_batch(name: str = "m") -> Batch:
    return parts.make_batch(parts.metrics({"as_int": 1}, name=name))


# --- the file ----------------------------------------------------------------------------------------------------


def test_a_connector_is_an_exporter_of_one_pipeline_and_a_receiver_of_another() -> None:
    found = config(BOTH)
    assert list(found.connectors) == ["link"]
    assert found.pipelines["traces"].exporters == ("store", "link")
    assert found.pipelines["metrics"].receivers == ("link",)
    assert found.signals_of("link") == {METRICS}
    assert not [one for one in found.warnings if "link" in one.message]


def test_a_connector_with_one_end_is_an_error_that_says_which_is_missing() -> None:
    assert problems(SPANS) == [
        "connectors.link: no pipeline has it under receivers, so what it makes goes nowhere; add one that does."
    ]
    assert problems("traces: {receivers: [toy], exporters: [store]}\n    " + POINTS) == [
        "connectors.link: no pipeline has it under exporters, so it gets nothing; add it to one."
    ]


def test_a_connector_that_no_pipeline_names_is_a_warning_and_is_not_built() -> None:
    found = config("traces: {receivers: [toy], exporters: [store]}")
    assert found.connectors == {}
    assert "connectors.link: no pipeline uses it, so it is not started." in [one.message for one in found.warnings]


def test_signals_that_a_connector_neither_takes_nor_makes_are_errors() -> None:
    assert problems(
        "logs: {receivers: [toy], exporters: [link]}\n    traces: {receivers: [link], exporters: [store]}"
    ) == [
        "service.pipelines.logs.exporters[0]: the connector 'link' takes no logs, only traces.",
        "service.pipelines.traces.receivers[0]: the connector 'link' makes no traces, only metrics.",
    ]


def test_a_connector_is_no_processor_and_shares_no_name_with_an_exporter() -> None:
    text = "traces: {receivers: [toy], processors: [link], exporters: [store]}"
    assert problems(text) == [
        "service.pipelines.traces.processors[0]: 'link' is defined under connectors, not under processors."
    ]
    assert "connectors.loop: 'loop' is defined under exporters too; rename one." in problems(
        BOTH, connectors="{link: , loop: }", exporters="{store: , loop: }"
    )


def test_a_cycle_is_refused_with_its_way() -> None:
    text = (
        "traces/a: {receivers: [toy, loop/2], exporters: [loop/1]}\n"
        "    traces/b: {receivers: [loop/1], exporters: [store, loop/2]}"
    )
    (problem,) = problems(text, connectors="{loop/1: , loop/2: }")
    assert problem == (
        "service.pipelines.traces/a: what goes into this pipeline would come back to it for ever:"
        " traces/a -> loop/1 -> traces/b -> loop/2 -> traces/a. Take one of these connectors out."
    )
    alone = "traces: {receivers: [toy, loop], exporters: [store, loop]}"
    assert "traces -> loop -> traces" in problems(alone, connectors="{loop: }")[0]


def test_two_ways_to_the_same_pipeline_are_no_cycle_and_those_upstream_stop_first() -> None:
    found = config(
        "traces/a: {receivers: [toy], exporters: [loop/1, loop/2]}\n"
        "    traces/b: {receivers: [loop/1], exporters: [loop/3]}\n"
        "    traces/c: {receivers: [loop/2, loop/3], exporters: [store]}",
        connectors="{loop/3: , loop/2: , loop/1: }",
    )
    order = upstream_first(found.pipelines.values(), found.connectors)
    assert sorted(order) == ["loop/1", "loop/2", "loop/3"]
    assert order.index("loop/1") < order.index("loop/3")


# --- what it is told of ------------------------------------------------------------------------------------------


async def test_it_is_told_of_what_was_stored_and_not_of_what_was_known_before() -> None:
    world = World(answers={"store": [Accepted(2), Accepted(deduplicated=2), Accepted(spooled=2), Accepted(rejected=2)]})
    host = await started(world, config(BOTH))
    batches = [trace_batch(name, 2) for name in "abcd"]
    for batch in batches:
        await world.receivers["toy"].send(batch)
    assert world.received["link"] == [batches[0], batches[2]]
    assert world.count("ares_otel_connector_items_total", connector="link", signal="traces", outcome="taken") == 4
    await host.stop()


async def test_it_is_not_told_of_what_the_exporter_refused_and_its_own_failure_changes_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(
        answers={"store": [Retryable("no"), Rejected("never"), Accepted(1)], "link": [RuntimeError("a bug of mine")]}
    )
    host = await started(world, config(BOTH))
    for error in (Retryable, Rejected):
        with pytest.raises(error):
            await world.receivers["toy"].send(trace_batch())
    assert await world.receivers["toy"].send(trace_batch()) == Accepted(1)
    assert "link" not in world.received
    assert world.count("ares_otel_connector_items_total", connector="link", signal="traces", outcome="failed") == 1
    assert "The connector link failed unexpectedly; the answer to the sender is not affected" in caplog.text
    await host.stop()


async def test_it_is_told_also_when_the_sender_went_away_while_the_batch_was_stored() -> None:
    world = World(held={"store": asyncio.Event()})
    host = await started(world, config(BOTH))
    sending = asyncio.create_task(world.receivers["toy"].send(trace_batch()))
    await some_turns()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    stopping = asyncio.create_task(host.stop())
    await some_turns()
    assert not stopping.done(), "it waits for what is being stored"
    world.held["store"].set()
    await stopping
    assert len(world.received["link"]) == 1


async def test_what_nobody_waits_for_does_not_outlive_the_grace() -> None:
    world = World(held={"store": asyncio.Event()})
    host = PipelineHost(world.parts(), grace=Grace(0.01))
    await host.replace(config(BOTH))
    sending = asyncio.create_task(world.receivers["toy"].send(trace_batch()))
    await some_turns()
    sending.cancel()
    await host.stop()
    assert "link" not in world.received
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_batch_of_which_nobody_knew_whether_it_was_stored_counts_when_it_was() -> None:
    world = World(
        answers={
            "store": [Unavailable("who knows"), Accepted(deduplicated=1), InFlight("another"), Accepted(deduplicated=1)]
        }
    )
    host = await started(world, config(BOTH))
    for name, error, told in (("a", Unavailable, 1), ("b", InFlight, 1)):
        with pytest.raises(error):
            await world.receivers["toy"].send(trace_batch(name))
        assert await world.receivers["toy"].send(trace_batch(name)) == Accepted(deduplicated=1)
        assert len(world.received["link"]) == told
    await host.stop()


async def test_a_pipeline_of_connectors_alone_follows_the_pipelines_beside_it() -> None:
    text = (
        "traces: {receivers: [toy], exporters: [store]}\n"
        "    traces/counted: {receivers: [toy], processors: [mark], exporters: [link]}\n    " + POINTS
    )
    world = World(answers={"store": [Retryable("later"), Accepted(dropped=1), Accepted(deduplicated=1), Accepted(1)]})
    host = await started(world, config(text))
    with pytest.raises(Retryable):
        await world.receivers["toy"].send(trace_batch("a"))
    for name in "aab":
        await world.receivers["toy"].send(trace_batch(name))
    assert span_names(world.received["link"]) == ["a>mark", "b>mark"]
    await host.stop()


async def test_where_nobody_stores_a_repeated_request_is_known_by_its_key() -> None:
    world = World()
    host = await started(world, config("traces: {receivers: [toy], exporters: [link]}\n    " + POINTS))
    for name in "aba":
        assert await world.receivers["toy"].send(trace_batch(name)) == Accepted(1)
    assert len(world.received["link"]) == 2
    assert world.count("ares_otel_connector_items_total", connector="link", signal="traces", outcome="repeated") == 1
    await host.stop()


def test_the_oldest_keys_are_forgotten() -> None:
    keys = Keys(2)
    for key in (b"a", b"b", b"a", b"c"):
        keys.add(key)
    assert [key in keys for key in (b"a", b"b", b"c")] == [False, True, True]


# --- life --------------------------------------------------------------------------------------------------------


async def test_it_starts_before_receivers_and_what_it_hands_on_at_its_end_goes_through_its_pipeline() -> None:
    world = World()
    text = SPANS + "metrics: {receivers: [link], processors: [mark], exporters: [store]}"
    host = await started(world, config(text))
    assert world.events == ["start store", "start mark", "start link", "start toy"]
    world.connectors["link"].last = metric_batch()
    world.events.clear()
    await host.stop()
    assert world.events == ["stop toy", "stop link", "stop mark", "stop store"]
    assert [batch.signal for batch in world.received["store"]] == [METRICS]


async def test_over_a_reload_an_unchanged_connector_goes_on_into_the_new_pipelines() -> None:
    world = World()
    host = await started(world, config(BOTH))
    connector = world.connectors["link"]
    world.events.clear()
    await host.replace(config(SPANS + "metrics: {receivers: [link], exporters: [send]}"))
    assert world.connectors["link"] is connector
    assert not [event for event in world.events if "link" in event]
    await connector.emit(metric_batch())
    await until(lambda: world.received.get("send"))
    await world.receivers["toy"].send(trace_batch())
    assert len(world.received["link"]) == 1
    await host.stop()


async def test_over_a_reload_a_changed_or_missing_connector_ends_in_the_pipelines_it_had() -> None:
    world = World()
    host = await started(world, config(BOTH))
    first = world.connectors["link"]
    first.last = metric_batch("first")
    await host.replace(
        config(SPANS + "metrics: {receivers: [link], exporters: [send]}", connectors="{link: {label: new}}")
    )
    assert world.connectors["link"] is not first
    assert len(world.received["store"]) == 1, "handed on as before"
    world.connectors["link"].last = metric_batch("second")
    await host.replace(config("traces: {receivers: [toy], exporters: [store]}"))
    await until(lambda: world.received.get("send"))
    await host.stop()


async def test_a_configuration_that_does_not_start_leaves_the_connector_where_it_was() -> None:
    world = World(broken={"new"})
    host = await started(world, config(BOTH))
    connector = world.connectors["link"]
    text = (
        "traces: {receivers: [toy], exporters: [store, link, loop]}\n"
        "    metrics: {receivers: [link], exporters: [send]}\n    traces/b: {receivers: [loop], exporters: [store]}"
    )
    with pytest.raises(StartError, match="new is broken"):
        await host.replace(config(text, connectors="{link: , loop: {label: new}}"))
    await connector.emit(metric_batch())
    assert len(world.received["store"]) == 1
    await host.stop()


async def test_a_connector_with_other_signals_is_built_anew() -> None:
    world = World()
    text = "traces: {receivers: [toy], exporters: [loop]}\n    "
    host = await started(world, config(text + "logs: {receivers: [loop], exporters: [store]}", connectors="{loop: }"))
    first = world.connectors["loop"]
    await host.replace(config(text + "metrics: {receivers: [loop], exporters: [store]}", connectors="{loop: }"))
    assert world.connectors["loop"] is not first
    await world.connectors["loop"].emit(metric_batch())
    assert len(world.received["store"]) == 1
    await host.stop()
