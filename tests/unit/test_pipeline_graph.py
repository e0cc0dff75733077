"""How batches go through a running configuration, in which order components live, and how one is exchanged."""

from __future__ import annotations

import asyncio

import pytest

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Rejected, Retryable, StartError
from ares_otel.model.signal import TRACES
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Grace
from ares_otel.pipeline.host import PipelineHost
from ares_otel.pipeline.load import load_bytes
from tests.support.toys import TOYS, World, some_turns, span_names, trace_batch, until


def config(text: str) -> PipelineConfig:
    return load_bytes(text.encode(), "test.yaml", TOYS, {})


def simple(
    exporters: str = "[store]", *, processors: str = "[]", sections: str = "", receiver: str = "", pipelines: str = ""
) -> PipelineConfig:
    return config(
        f"""
receivers: {{toy: {{{receiver}}}}}
processors: {{mark/a: , mark/b: }}
exporters:
  store:
  store/b:
  send: {{retry_on_failure: {{enabled: false}}}}
  send/b: {{retry_on_failure: {{enabled: false}}}}
  {sections}
service:
  pipelines:
    traces: {{receivers: [toy], processors: {processors}, exporters: {exporters}}}
    {pipelines}
"""
    )


async def started(world: World, what: PipelineConfig) -> PipelineHost:
    host = PipelineHost(world.parts(), grace=Grace(5))
    await host.replace(what)
    return host


# --- order -------------------------------------------------------------------------------------------------------


async def test_exporters_start_first_receivers_last_and_stopping_goes_the_other_way() -> None:
    world = World()
    host = await started(world, simple(processors="[mark/a, mark/b]"))
    assert world.events == ["start store", "start mark/b", "start mark/a", "start toy"]
    world.events.clear()
    await host.stop()
    assert world.events == ["stop toy", "stop mark/a", "stop mark/b", "stop store"]


async def test_processors_work_in_the_order_of_the_file() -> None:
    world = World()
    host = await started(world, simple(processors="[mark/b, mark/a]"))
    assert await world.receivers["toy"].send(trace_batch("x", 2)) == Accepted(2)
    assert span_names(world.received["store"]) == ["x>mark/b>mark/a"] * 2
    await host.stop()


@pytest.mark.parametrize("broken", ["store", "mark/a", "mark/b", "toy"])
async def test_when_one_component_cannot_start_those_before_it_are_stopped(broken: str) -> None:
    world = World(broken={broken})
    host = PipelineHost(world.parts())
    with pytest.raises(StartError, match=f"{broken} is broken"):
        await host.replace(simple(processors="[mark/a, mark/b]"))
    begun = [event.removeprefix("start ") for event in world.events if event.startswith("start ")]
    ended = [event.removeprefix("stop ") for event in world.events if event.startswith("stop ")]
    assert sorted(begun) == sorted(ended)
    await host.stop()


async def test_stop_is_safe_without_start_and_twice_and_then_senders_are_told_to_come_back() -> None:
    world = World()
    idle = PipelineHost(world.parts())
    await idle.stop()
    await idle.stop()
    with pytest.raises(StartError, match="stopping"):
        await idle.replace(simple())
    host = await started(world, simple())
    receiver = world.receivers["toy"]
    await host.stop()
    await host.stop()
    with pytest.raises(Retryable, match="stopping"):
        await receiver.send(trace_batch())


async def test_stop_waits_for_batches_on_their_way() -> None:
    world = World(held={"store": asyncio.Event()})
    host = await started(world, simple(processors="[mark/a]"))
    sending = asyncio.create_task(world.receivers["toy"].send(trace_batch()))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(host.stop())
    await some_turns()
    assert "stop mark/a" not in world.events
    world.held["store"].set()
    assert await sending == Accepted(1)
    await stopping
    assert world.events[-1] == "stop store"


# --- several exporters -------------------------------------------------------------------------------------------


async def test_a_pipeline_without_a_durable_exporter_waits_for_all_its_exporters() -> None:
    world = World(held={"send/b": asyncio.Event()})
    host = await started(world, simple("[send, send/b]"))
    sending = asyncio.create_task(world.receivers["toy"].send(trace_batch()))
    await until(lambda: "send" in world.received)
    assert not sending.done()
    world.held["send/b"].set()
    assert await sending == Accepted(1)
    assert world.count("otelcol_exporter_sent_spans_total", exporter="send/b") == 1
    await host.stop()


async def test_next_to_a_durable_exporter_others_are_fed_after_its_commit_and_do_not_hold_the_answer() -> None:
    world = World(held={"store": asyncio.Event(), "send": asyncio.Event()})
    host = await started(world, simple("[send, store]"))
    sending = asyncio.create_task(world.receivers["toy"].send(trace_batch()))
    await some_turns()
    assert world.count("otelcol_exporter_queue_size", exporter="send") == 0
    world.held["store"].set()
    assert await sending == Accepted(1)
    assert "send" not in world.received
    world.held["send"].set()
    await host.stop()
    assert len(world.received["send"]) == 1


async def test_what_a_tee_loses_is_counted_and_never_touches_the_answer() -> None:
    world = World(answers={"send": [Rejected(), Retryable(), OSError("odd"), Accepted(1, rejected=1)]})
    host = await started(world, simple("[store, send]"))
    for _ in range(4):
        assert await world.receivers["toy"].send(trace_batch("x", 2)) == Accepted(2)
    await host.stop()
    assert world.count("otelcol_exporter_send_failed_spans_total", exporter="send") == 7
    assert world.count("otelcol_exporter_sent_spans_total", exporter="send") == 1


async def test_what_the_durable_exporter_did_not_take_is_not_fed_to_the_tee() -> None:
    world = World(answers={"store": [Retryable("busy"), Rejected("bad")]})
    host = await started(world, simple("[store, send]"))
    with pytest.raises(Retryable, match="busy"):
        await world.receivers["toy"].send(trace_batch())
    with pytest.raises(Rejected, match="bad"):
        await world.receivers["toy"].send(trace_batch())
    await host.stop()
    assert "send" not in world.received


RULES = [
    ([Accepted(3), Accepted(3)], Accepted(3)),
    ([Accepted(2, rejected=1, reason="no"), Accepted(3)], Accepted(2, rejected=1, reason="no")),
    ([Accepted(3), Accepted(dropped=3)], Accepted(3)),
    ([Accepted(1, dropped=2), Accepted(2, dropped=1)], Accepted(2, dropped=1)),
    ([Accepted(deduplicated=3), Accepted(3)], Accepted(3)),
    (
        [Accepted(2, rejected=1, reason="a"), Accepted(1, rejected=2, reason="b")],
        Accepted(1, rejected=2, reason="a; b"),
    ),
]


@pytest.mark.parametrize(("answers", "merged"), RULES)
async def test_several_pipelines_give_one_answer_in_which_every_item_counts_once(
    answers: list[Accepted], merged: Accepted
) -> None:
    first, second = answers
    world = World(answers={"store": [first], "store/b": [second]})
    host = await started(world, simple(pipelines="traces/b: {receivers: [toy], exporters: [store/b]}"))
    assert await world.receivers["toy"].send(trace_batch("x", 3)) == merged
    await host.stop()


async def test_one_retryable_pipeline_makes_the_sender_repeat_and_one_rejecting_wins_over_accepted() -> None:
    world = World(
        answers={
            "store": [Retryable("again"), Rejected("bad"), OSError("odd")],
            "store/b": [Rejected("bad"), Accepted(1), Retryable("again")],
        }
    )
    host = await started(world, simple("[store, store/b]"))
    with pytest.raises(Retryable, match="again"):
        await world.receivers["toy"].send(trace_batch())
    with pytest.raises(Rejected, match="bad"):
        await world.receivers["toy"].send(trace_batch())
    with pytest.raises(OSError, match="odd"):
        await world.receivers["toy"].send(trace_batch())
    await host.stop()


# --- replacement -------------------------------------------------------------------------------------------------


async def test_an_unchanged_receiver_and_exporter_keep_running_over_a_replacement() -> None:
    world = World()
    host = await started(world, simple(processors="[mark/a]"))
    receiver = world.receivers["toy"]
    world.events.clear()
    await host.replace(simple(processors="[mark/b]"))
    assert world.events == ["start mark/b", "stop mark/a"]
    assert await receiver.send(trace_batch("x")) == Accepted(1)
    assert span_names(world.received["store"]) == ["x>mark/b"]
    assert host.receivers == {"toy": receiver}
    await host.stop()
    assert world.events[-1] == "stop store"


async def test_a_changed_receiver_gives_its_port_to_the_new_one() -> None:
    world = World()
    host = await started(world, simple(receiver="port: 7, label: old"))
    world.events.clear()
    await host.replace(simple(receiver="port: 7, label: new"))
    assert world.events == ["stop old", "start new"]
    await host.replace(
        config(
            "receivers: {toy/x: {port: 7}}\nexporters: {store: }\nservice: {pipelines: {traces:"
            " {receivers: [toy/x], exporters: [store]}}}"
        )
    )
    assert list(host.receivers) == ["toy/x"]
    await host.stop()


async def test_a_receiver_that_moves_to_a_free_port_opens_the_new_one_before_it_closes_the_old_one() -> None:
    world = World()
    host = await started(world, simple(receiver="port: 7, label: old"))
    world.events.clear()
    await host.replace(simple(receiver="port: 8, label: new"))
    assert world.events == ["start new", "stop old"]
    await host.stop()


async def test_a_changed_receiver_that_cannot_start_does_not_interrupt_the_running_one() -> None:
    world = World(broken={"bad"})
    host = await started(world, simple(receiver="port: 7, label: old"))
    world.events.clear()
    with pytest.raises(StartError, match="bad is broken"):
        await host.replace(simple(receiver="port: 8, label: bad"))
    assert world.events == []
    await host.stop()


async def test_an_address_that_somebody_else_has_brings_the_old_receiver_back() -> None:
    world = World(ports={9})
    host = await started(world, simple(receiver="port: 7, label: old"))
    world.events.clear()
    with pytest.raises(StartError, match="port 9 is in use"):
        await host.replace(simple(receiver="port: 9, label: new"))
    assert world.events == ["stop old", "start old"]
    assert await world.receivers["toy"].send(trace_batch()) == Accepted(1)
    await host.stop()


async def test_a_receiver_whose_signals_change_is_exchanged() -> None:
    world = World()
    host = await started(world, simple())
    await host.replace(simple(pipelines="logs: {receivers: [toy], exporters: [store]}"))
    assert len(world.receivers["toy"].consumers) == 2
    await host.replace(simple())
    assert list(world.receivers["toy"].consumers) == [TRACES]
    await host.stop()


async def test_a_configuration_that_does_not_start_leaves_the_old_one_running() -> None:
    world = World(broken={"bad"})
    old = simple(receiver="port: 7", processors="[mark/a]")
    host = await started(world, old)
    for broken in (
        simple("[store, store/bad]", receiver="port: 7", sections="store/bad: {label: bad}"),
        simple(receiver="port: 7, label: bad"),
        simple(
            receiver="port: 7",
            pipelines="traces/b: {receivers: [toy], exporters: [store/bad]}",
            sections="store/bad: {label: bad}",
        ),
    ):
        with pytest.raises(StartError, match="bad is broken"):
            await host.replace(broken)
        assert host.config is old
        assert await world.receivers["toy"].send(trace_batch("x")) == Accepted(1)
    assert span_names(world.received["store"]) == ["x>mark/a"] * 3
    await host.stop()
    assert sorted(e[5:] for e in world.events if e.startswith("stop ")) == sorted(
        e[6:] for e in world.events if e.startswith("start ")
    )


async def test_a_receiver_that_cannot_come_back_after_a_failed_replacement_is_named() -> None:
    world = World(broken={"bad"})
    host = await started(world, simple(receiver="port: 7, label: old"))
    world.broken.add("old")
    world.ports.add(9)
    with pytest.raises(StartError, match=r"port 9 is in use.*\n.*toy could not be started again: old is broken"):
        await host.replace(simple(receiver="port: 9"))
    world.broken.clear()
    await host.replace(simple(receiver="port: 7, label: third"))
    assert await world.receivers["toy"].send(trace_batch()) == Accepted(1)
    await host.stop()


async def test_no_batch_is_lost_or_doubled_while_pipelines_are_exchanged_under_continuous_load() -> None:
    world = World()
    variants = [
        simple("[store, send]", processors="[mark/a]"),
        simple("[store, send]", processors="[mark/b, mark/a]", sections="send/c: {label: other}"),
        simple("[store]", processors="[]"),
        simple("[store, send]", processors="[mark/b]", pipelines="logs: {receivers: [toy], exporters: [store]}"),
    ]
    host = await started(world, variants[0])
    done = False
    answered: list[str] = []

    async def sender(name: str) -> None:
        number = 0
        while not done:
            batch = trace_batch(f"{name}.{number}")
            # A receiver that is exchanged refuses while it is down: a sender repeats what was not accepted.
            receiver = world.receivers["toy"]
            if receiver.started:
                assert await receiver.send(batch) == Accepted(1)
                answered.append(f"{name}.{number}")
                number += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(sender(f"s{number}"))
        for turn in range(40):
            await host.replace(variants[turn % len(variants)])
            for _ in range(5):
                await asyncio.sleep(0)
        done = True
    await host.stop()
    stored = [name.partition(">")[0] for name in span_names(world.received["store"])]
    assert len(answered) > 200
    assert sorted(stored) == sorted(answered)
    assert world.count("otelcol_exporter_send_failed_spans_total", exporter="send") == 0
    fed = [name.partition(">")[0] for name in span_names(world.received["send"])]
    assert len(fed) == len(set(fed))


async def test_a_replacement_waits_for_batches_that_are_still_in_the_old_pipelines() -> None:
    world = World(held={"old": asyncio.Event()})
    host = await started(world, simple("[store/old]", processors="[mark/a]", sections="store/old: {label: old}"))
    sending = asyncio.create_task(world.receivers["toy"].send(trace_batch("first")))
    await asyncio.sleep(0)
    replacing = asyncio.create_task(host.replace(simple()))
    await until(lambda: "start store" in world.events)
    await some_turns()
    assert await world.receivers["toy"].send(trace_batch("second")) == Accepted(1)
    assert not replacing.done()
    assert "stop old" not in world.events
    world.held["old"].set()
    assert await sending == Accepted(1)
    await replacing
    assert (span_names(world.received["old"]), span_names(world.received["store"])) == (["first>mark/a"], ["second"])
    assert world.events[-2:] == ["stop mark/a", "stop old"]
    await host.stop()
