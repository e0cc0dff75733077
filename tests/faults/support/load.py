"""Continuous load from several senders for the length of a block."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from tests.faults.support.oracle import Oracle
from tests.faults.support.raw_sender import Doors, Protocol, RawSender
from tests.support.eventually import eventually

PATIENCE = 90.0
"""Seconds that a test waits for senders to get on; nothing takes that long unless it hangs."""
_NUMBERS = itertools.count(1)
"""Every sender of a process has a name of its own: items are known by it."""


class Progress:
    """How far the senders of a run are."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    async def acknowledged(self, more: int) -> None:
        """Waits until so many more items were acknowledged."""
        goal = self.oracle.acknowledged + more

        async def reached() -> bool:
            return self.oracle.acknowledged >= goal

        await eventually(reached, seconds=PATIENCE, every=0.05)


class Load(Progress):
    """Raw senders that run."""

    def __init__(self, oracle: Oracle, senders: list[RawSender]) -> None:
        super().__init__(oracle)
        self.senders = senders

    @property
    def answers(self) -> Counter[str]:
        """How often each kind of answer was heard so far."""
        return sum((sender.heard.answers for sender in self.senders), Counter())

    @property
    def refusals(self) -> int:
        """Attempts without an answer that counts: "try again later", or the connection was lost."""
        answers = self.answers
        return answers.total() - answers["answered"]

    async def refused(self, more: int = 1) -> None:
        """Waits until so many more attempts failed."""
        goal = self.refusals + more

        async def reached() -> bool:
            return self.refusals >= goal

        await eventually(reached, seconds=PATIENCE, every=0.02)

    async def feels_an_outage(self, *, spool: bool) -> None:
        """Waits until the senders have noticed that the database is away: with a spool they are answered OK all the
        same, without one they are told to come again."""
        if spool:
            await self.acknowledged(300)
        else:
            await self.refused(6)

    async def sent_all(self) -> None:
        """Waits until senders with a bound have sent everything."""
        for sender in self.senders:
            await asyncio.to_thread(sender.idle.wait, PATIENCE)
            assert sender.idle.is_set(), f"{sender.name} is not done: {dict(sender.heard.answers)}"

    async def stop(self) -> None:
        """Every sender ends its request: it is answered, or given up. Safe twice."""
        for sender in self.senders:
            sender.stop()
        for sender in self.senders:
            await asyncio.to_thread(sender.join, PATIENCE)
            assert not sender.is_alive(), f"{sender.name} hangs"

    def complaints(self) -> list[str]:
        """What the senders have to complain about the answers."""
        return [complaint for sender in self.senders for complaint in sender.heard.complaints]


@contextlib.asynccontextmanager
async def under_load(
    oracle: Oracle, doors: Doors, *, grpc: int = 2, http: int = 1, write: int = 0, **options: Any
) -> AsyncIterator[Load]:
    """So many senders by gRPC, by HTTP and by remote write, for the length of a block; `options` are those of
    `RawSender`. At the end of the block they are stopped, and none of them may have a complaint."""
    counts: dict[Protocol, int] = {"grpc": grpc, "http": http, "write": write}
    senders = [
        RawSender(oracle, doors, f"{kind}-{next(_NUMBERS)}", protocol=kind, **options)
        for kind, count in counts.items()
        for _ in range(count)
    ]
    load = Load(oracle, senders)
    for sender in senders:
        sender.start()
    try:
        yield load
    except BaseException as error:
        error.add_note(f"the senders heard {dict(load.answers)}, complaints: {load.complaints()[:5]}")
        for sender in senders:
            sender.stop()
        raise
    await load.stop()
    assert load.complaints() == [], load.complaints()[:5]
