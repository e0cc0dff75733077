"""Queue, retries and time limits around an exporter."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Rejected, Retryable
from ares_otel.pipeline import sending
from ares_otel.pipeline.sending import QueueConfig, RetryConfig, Sending
from tests.support.toys import ToyExporter, ToyExporterConfig, World, trace_batch, until

QUICK: dict[str, Any] = {"initial_interval": "1ms", "max_interval": "2ms", "randomization_factor": 0}
NOW = Retryable("Not now.", retry_after=0)
"""What an exporter raises when the destination named no delay."""


async def around(world: World, **options: Any) -> Sending:
    options.setdefault("retry_on_failure", QUICK)
    context = world.parts().context("send")
    config = ToyExporterConfig.model_validate(options)
    made = Sending(context, config, ToyExporter(context, config))
    await made.start()
    made.open_queue()
    return made


def sent(world: World) -> float:
    return world.count("otelcol_exporter_sent_spans_total", exporter="send")


def failed(world: World) -> float:
    return world.count("otelcol_exporter_send_failed_spans_total", exporter="send")


def dropped(world: World) -> float:
    return world.count("otelcol_exporter_enqueue_failed_spans_total", exporter="send")


def test_the_defaults_are_the_collectors() -> None:
    assert QueueConfig().model_dump(exclude={"max_bytes"}) == {
        "enabled": True,
        "num_consumers": 10,
        "queue_size": 1000,
    }
    assert RetryConfig().model_dump() == {
        "enabled": True,
        "initial_interval": 5,
        "randomization_factor": 0.5,
        "multiplier": 1.5,
        "max_interval": 30,
        "max_elapsed_time": 300,
    }


async def test_a_retryable_failure_is_repeated_until_it_works_and_counts_once() -> None:
    world = World(answers={"send": [NOW, NOW, OSError("odd")]})
    stage = await around(world)
    await stage.feed(trace_batch("x", 3))
    await until(lambda: sent(world))
    assert (sent(world), failed(world), len(world.received["send"])) == (3, 0, 1)
    await stage.stop()


async def test_a_rejected_batch_is_not_repeated() -> None:
    world = World(answers={"send": [Rejected("bad")]})
    stage = await around(world)
    await stage.feed(trace_batch("x", 3))
    await until(lambda: failed(world))
    assert (failed(world), world.received) == (3, {})
    await stage.stop()


async def test_without_retry_on_failure_one_attempt_is_all() -> None:
    world = World(answers={"send": [NOW]})
    stage = await around(world, retry_on_failure={"enabled": False})
    with pytest.raises(Retryable, match="Not now"):
        await stage.consume(trace_batch())
    assert failed(world) == 1
    assert await stage.consume(trace_batch()) == Accepted(1)
    await stage.stop()


async def test_max_elapsed_time_ends_the_attempts() -> None:
    world = World(answers={"send": [NOW] * 10_000})
    stage = await around(world, retry_on_failure={**QUICK, "max_elapsed_time": "30ms"})
    await stage.feed(trace_batch())
    await until(lambda: failed(world))
    assert 1 < 10_000 - len(world.answers["send"]) < 10_000
    await stage.stop()


async def test_pauses_grow_by_the_multiplier_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def note(self: Sending, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(Sending, "_pause", note)
    world = World(answers={"send": [NOW, NOW, NOW, NOW, Retryable("later", retry_after=60)]})
    retry = {"initial_interval": "1s", "multiplier": 2, "max_interval": "5s", "randomization_factor": 0}
    stage = await around(world, retry_on_failure=retry)
    await stage.feed(trace_batch())
    await until(lambda: sent(world))
    assert pauses == [1, 2, 4, 5, 60]
    pauses.clear()
    world.answers["send"] = [NOW] * 50
    await (await around(world, retry_on_failure={**retry, "multiplier": 1, "randomization_factor": 0.5})).feed(
        trace_batch()
    )
    await until(lambda: sent(world) == 2)
    assert all(0.5 <= pause <= 1.5 for pause in pauses)
    assert len(set(pauses)) > 1
    await stage.stop()


async def test_an_attempt_without_answer_ends_with_the_timeout() -> None:
    world = World(held={"send": asyncio.Event()})
    stage = await around(world, timeout="10ms", retry_on_failure={"enabled": False})
    with pytest.raises(Retryable, match=r"no answer from its destination in 0.01 s"):
        await stage.consume(trace_batch())
    await stage.stop()


async def test_while_a_sender_waits_attempts_end_at_its_deadline() -> None:
    world = World(answers={"send": [NOW] * 1000})
    stage = await around(world, retry_on_failure={"initial_interval": "1h", "randomization_factor": 0})
    deadline = world.parts().clock.monotonic() + 60
    with pytest.raises(Retryable):
        await stage.consume(trace_batch(deadline=deadline))
    with pytest.raises(Retryable):  # no deadline: WAITING_SECONDS
        await stage.consume(trace_batch())
    world.answers.clear()
    world.held["send"] = asyncio.Event()
    with pytest.raises(Retryable, match="no answer"):
        await stage.consume(trace_batch(deadline=world.parts().clock.monotonic() + 0.01))
    await stage.stop()


async def test_a_full_queue_drops_and_counts_at_once() -> None:
    world = World(held={"send": asyncio.Event()})
    stage = await around(world, sending_queue={"num_consumers": 1, "queue_size": 2})
    await stage.feed(trace_batch())
    await until(lambda: world.count("otelcol_exporter_queue_size", exporter="send") == 0)
    for _ in range(5):
        await stage.feed(trace_batch("x", 2))
    assert world.count("otelcol_exporter_queue_size", exporter="send") == 2
    assert world.count("otelcol_exporter_queue_capacity", exporter="send") == 2
    assert dropped(world) == 6
    world.held["send"].set()
    await stage.stop()
    assert (sent(world), failed(world)) == (5, 0)
    assert world.count("otelcol_exporter_queue_capacity", exporter="send") == 0


async def test_the_queue_is_bounded_in_bytes_too() -> None:
    world = World(held={"send": asyncio.Event()})
    size = len(trace_batch("x" * 100).payload)
    stage = await around(world, sending_queue={"num_consumers": 1, "max_bytes": 2 * size})
    await stage.feed(trace_batch())
    await until(lambda: world.count("otelcol_exporter_queue_size", exporter="send") == 0)
    for _ in range(3):
        await stage.feed(trace_batch("x" * 100))
    assert dropped(world) == 1
    world.held["send"].set()
    await stage.stop()
    assert sent(world) == 3


async def test_num_consumers_batches_are_sent_at_once() -> None:
    world = World(held={"send": asyncio.Event()})
    stage = await around(world, sending_queue={"num_consumers": 3})
    for _ in range(5):
        await stage.feed(trace_batch())
    await until(lambda: world.count("otelcol_exporter_queue_size", exporter="send") == 2)
    world.held["send"].set()
    await stage.stop()
    assert sent(world) == 5


async def test_without_a_queue_the_answer_waits_for_the_attempt_but_not_for_its_success() -> None:
    world = World(answers={"send": [Rejected()]})
    stage = await around(world, sending_queue={"enabled": False})
    await stage.feed(trace_batch())
    assert failed(world) == 1
    await stage.feed(trace_batch())
    assert sent(world) == 1
    await stage.stop()


async def test_stop_gives_every_waiting_batch_one_last_attempt() -> None:
    world = World(answers={"send": [NOW]})
    stage = await around(
        world, retry_on_failure={"initial_interval": "1h", "max_elapsed_time": "0"}, sending_queue={"num_consumers": 1}
    )
    for _ in range(3):
        await stage.feed(trace_batch())
    await until(lambda: not world.answers["send"])
    await stage.stop()
    assert (sent(world), failed(world)) == (3, 0)
    await stage.stop()


async def test_what_cannot_be_sent_until_the_drain_ends_is_counted_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sending, "DRAIN_SECONDS", 0.01)
    world = World(held={"send": asyncio.Event()})
    stage = await around(world, timeout=0.0, sending_queue={"num_consumers": 1})
    for _ in range(3):
        await stage.feed(trace_batch("x", 2))
    with caplog.at_level(logging.WARNING, "ares_otel"):
        await stage.stop()
    assert (sent(world), failed(world)) == (0, 6)
    assert "send stopped with 2 batches unsent" in caplog.text
    await stage.feed(trace_batch())
    assert dropped(world) == 1


async def test_a_waiting_batch_does_not_keep_its_decoded_message() -> None:
    batch = trace_batch("x", 5)
    assert batch.items == 5
    copy = batch.undecoded()
    assert (copy.key, copy.payload, copy.items) == (batch.key, batch.payload, 5)
    assert copy.message() is not batch.message()
