"""The supervisor's side of a reload and of a restart, with workers that do what a test wants over a real channel."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ares_otel.cli.options import UpOptions
from ares_otel.cli.workers import supervisor
from ares_otel.cli.workers.channel import Channel, ChannelClosed
from ares_otel.cli.workers.process import WorkerProcess
from ares_otel.cli.workers.setup import Setup
from ares_otel.cli.workers.supervisor import Workers
from ares_otel.model.errors import StartError
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.listen import BindPolicy
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.storage.database import ServerFacts
from tests.support.eventually import eventually

CONFIG = PipelineConfig({}, {}, {}, {})


class Hand(WorkerProcess):
    """A worker without a process of its own: its end of the channel is held by the test."""

    made: list[Hand]
    refuses: set[tuple[int, str]]
    hangs: set[int]
    """Numbers of workers whose next start takes for ever."""

    async def spawn(self) -> None:
        self.content = ""
        self.ended = asyncio.Event()
        ours, theirs = socket.socketpair()
        self.other = Channel({"start": self._started, "reload": self._reloaded, "metrics": self._asked}, {})
        await self.other.open(theirs)
        await self.channel.open(ours)
        self.made.append(self)

    @property
    def pid(self) -> int:
        return 1000 + self.number

    async def wait(self) -> str:
        await self.ended.wait()
        self.ready = False
        return "by a test"

    def kill(self) -> None:
        self.ended.set()
        self.other._end()  # as the kernel closes what a process had open

    async def _started(self, setup: dict[str, Any]) -> None:
        if self.number in self.hangs:
            self.hangs.remove(self.number)
            await asyncio.Event().wait()
        self.content = setup["content"]

    async def _reloaded(self, content: str, ports: dict[str, int]) -> None:
        if (self.number, content) in self.refuses:
            raise StartError("It does not start.")
        self.content = content

    async def _asked(self) -> list[Any]:
        return []


def setup_of(number: int, content: str, ports: Mapping[str, int]) -> Setup:
    options = UpOptions(Path("/data"), Path("ares.yaml"))
    facts = ServerFacts(180006, "18.6", True, False, ())
    return Setup(number=number, options=options, url="", facts=facts, instance_id="", content=content, ports={})


@pytest.fixture
async def workers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workers]:
    """Three workers that run the configuration `old`."""
    Hand.made, Hand.refuses, Hand.hangs = [], set(), set()
    monkeypatch.setattr(supervisor, "WorkerProcess", Hand)
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.0)
    made = Workers(3, Telemetry(), policy=BindPolicy(), reload_seconds=0.2)
    await made.spawn()
    await made.start("old", setup_of)
    yield made
    made.kill()
    await made.stop()
    for hand in Hand.made:
        await hand.other.close()
        await hand.channel.close()


def contents() -> dict[int, str]:
    """Number of the worker → what it runs; of those that were started again, the last."""
    return {hand.number: hand.content for hand in Hand.made}


async def all_three_run(content: str) -> None:
    async def look() -> bool:
        return contents() == dict.fromkeys((1, 2, 3), content)

    await eventually(look, every=0.01)


async def test_another_configuration_runs_in_all_workers(workers: Workers) -> None:
    await workers.replace("new", CONFIG)
    assert contents() == {1: "new", 2: "new", 3: "new"}


async def test_one_that_a_worker_cannot_start_runs_in_none(workers: Workers) -> None:
    Hand.refuses = {(3, "new")}
    with pytest.raises(StartError, match=r"It does not start\. \(worker 3\)"):
        await workers.replace("new", CONFIG)
    assert contents() == {1: "old", 2: "old", 3: "old"}


async def test_a_worker_that_cannot_go_back_is_started_again_with_the_configuration_in_force(workers: Workers) -> None:
    Hand.refuses = {(3, "new"), (1, "old")}
    with pytest.raises(StartError):
        await workers.replace("new", CONFIG)
    await all_three_run("old")
    assert [hand.number for hand in Hand.made] == [1, 2, 3, 1]


async def test_a_worker_that_ended_during_a_reload_is_started_again_with_the_new_configuration(
    workers: Workers,
) -> None:
    await Hand.made[1].other.close()
    await workers.replace("new", CONFIG)
    Hand.made[1].kill()
    await all_three_run("new")


async def test_a_reload_does_not_wait_for_a_worker_that_is_just_starting(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    Hand.hangs = {2}
    Hand.made[1].kill()
    await eventually(lambda: asyncio.sleep(0, not Hand.hangs), every=0.01)
    await workers.replace("new", CONFIG)
    await all_three_run("new")
    assert "cannot be started" not in caplog.text


async def test_a_worker_that_does_not_answer_a_reload_is_started_again(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(content: str, ports: dict[str, int]) -> None:
        await asyncio.Event().wait()

    Hand.made[1].other._answers["reload"] = hangs
    await workers.replace("new", CONFIG)
    await all_three_run("new")
    assert [hand.number for hand in Hand.made] == [1, 2, 3, 2]


async def test_what_a_worker_cannot_do_is_an_error_of_the_call_and_not_of_the_channel() -> None:
    async def fails() -> None:
        raise RuntimeError("a mistake")

    async def echoes(value: object) -> object:
        return value

    one, other = socket.socketpair()
    ours, theirs = Channel({}, {}), Channel({"fail": fails, "echo": echoes}, {})
    await ours.open(one)
    await theirs.open(other)
    with pytest.raises(StartError, match="RuntimeError: a mistake"):
        await ours.call("fail")
    big = "x" * 3_000_000
    assert await asyncio.gather(*(ours.call("echo", value=value) for value in (1, None, big))) == [1, None, big]
    await theirs.close()
    with pytest.raises(ChannelClosed):
        await ours.call("echo", value=1)
    assert not ours.note("anything")
    await ours.close()
