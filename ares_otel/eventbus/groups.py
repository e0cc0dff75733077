"""A member of a named group: the group's members share the events of the stream between them, over processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any

from redis.exceptions import ResponseError

from ares_otel.eventbus import wire
from ares_otel.eventbus.connection import REDIS_ERRORS, Backoff, client, entry_number, reason
from ares_otel.eventbus.counts import Counts
from ares_otel.eventbus.ending import end
from ares_otel.eventbus.queues import Delivery

READ_EVENTS = 10
BLOCK_MS = 1000
FORGET_MS = 3_600_000
"""A member that has been silent for so long, and owes nothing, is removed from the group."""
REMEMBERED = 1000

log = logging.getLogger("ares_otel.eventbus")


class GroupMember:
    """Reads for one subscription with XREADGROUP and acknowledges what its handler is through with.

    The events of a member that died are claimed by another; while a handler works, its events are kept from being
    claimed. A handler that raises has had its chance: the failure is counted and the event acknowledged.
    """

    def __init__(
        self, delivery: Delivery, *, url: str, stream: str, consumer: str, counts: Counts, claim_seconds: float
    ) -> None:
        assert delivery.group is not None
        self._delivery = delivery
        self._key = (delivery.group, delivery.pattern)
        self._group = f"{delivery.group}|{delivery.pattern}"
        self._url = url
        self._stream = stream
        self._consumer = consumer
        self._counts = counts
        self._claim_seconds = claim_seconds
        self._client = client(url)
        self._handled: deque[str] = deque(maxlen=REMEMBERED)
        self._task: asyncio.Task[None] | None = None
        self._made = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"group {self._group}")

    async def stop(self) -> None:
        """What is not acknowledged yet goes to another member after a while."""
        if self._task is not None:
            await end([self._task])
        self._task = None
        await self._client.aclose()

    async def caught_up(self, last: str) -> None:
        """Returns when the group has been given the entry `last` and this member owes nothing.

        Raises what `REDIS_ERRORS` lists.
        """
        while True:
            groups = await self._client.xinfo_groups(self._stream)
            given = [info["last-delivered-id"].decode() for info in groups if info["name"] == self._group.encode()]
            if given and entry_number(given[0]) >= entry_number(last):
                consumers = await self._client.xinfo_consumers(self._stream, self._group)
                name = self._consumer.encode()
                if not any(info["pending"] for info in consumers if info["name"] == name):
                    return
            await asyncio.sleep(0.02)

    async def _run(self) -> None:
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        next_claim = 0.0
        while True:
            try:
                await self.make()
                if loop.time() >= next_claim:
                    next_claim = loop.time() + min(15.0, self._claim_seconds / 2)
                    await self._claim()
                found: Any = await self._client.xreadgroup(
                    self._group, self._consumer, {self._stream: ">"}, count=READ_EVENTS, block=BLOCK_MS
                )
                entries = [entry for _, found_entries in found or () for entry in found_entries]
                await self._handle(entries)
                backoff.reset()
            except ResponseError as error:
                if "NOGROUP" in str(error):
                    # Redis was flushed, or came back empty: what stands in the stream now is new.
                    await self._again()
                else:
                    log.debug("The group %s cannot read: %s", self._group, reason(error, self._url))
                await asyncio.sleep(backoff.pause())
            except REDIS_ERRORS as error:
                log.debug("The group %s cannot read: %s", self._group, reason(error, self._url))
                await asyncio.sleep(backoff.pause())
            except Exception:
                log.exception("The group %s cannot read for a reason that is not Redis's.", self._group)
                await asyncio.sleep(backoff.pause())

    async def make(self) -> None:
        """Makes the group where it is missing, from now on; one that exists goes on where it was.

        Raises what `REDIS_ERRORS` lists.
        """
        if not self._made:
            await self._make("$")

    async def _make(self, start: str) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id=start, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._made = True

    async def _again(self) -> None:
        with contextlib.suppress(*REDIS_ERRORS):
            await self._make("0")

    async def _claim(self) -> None:
        """Takes over what members that died left undone, and forgets those members."""
        start: Any = "0-0"
        while True:
            answer: Any = await self._client.xautoclaim(
                self._stream,
                self._group,
                self._consumer,
                min_idle_time=int(self._claim_seconds * 1000),
                start_id=start,
                count=READ_EVENTS,
            )
            start, entries = answer[0], answer[1]
            await self._handle(entries)
            if start == b"0-0":
                break
        for consumer in await self._client.xinfo_consumers(self._stream, self._group):
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_MS:
                await self._client.xgroup_delconsumer(self._stream, self._group, consumer["name"])

    async def _handle(self, entries: list[tuple[bytes, wire.Fields | None]]) -> None:
        """Has the handler work through entries, in order, and acknowledges each as soon as it is through."""
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[bytes, str | None, asyncio.Future[bool] | None]] = deque()
        for entry_id, fields in entries:
            received = wire.decode(fields)
            if received is None:
                self._counts.add("skipped")
                waiting.append((entry_id, None, None))
            elif (
                not self._delivery.wants(received.event.topic)
                or self._key in received.done
                or received.event.id in self._handled
            ):
                waiting.append((entry_id, None, None))
            else:
                done: asyncio.Future[bool] = loop.create_future()
                self._delivery.put(received.event, received.size, done)
                waiting.append((entry_id, received.event.id, done))
        while waiting:
            _, _, first = waiting[0]
            if first is not None:
                await asyncio.wait([first], timeout=self._claim_seconds / 3)
                if not first.done():
                    await self._keep([entry_id for entry_id, _, _ in waiting])
                    continue
            through = []
            while waiting and ((done_now := waiting[0][2]) is None or done_now.done()):
                entry_id, event_id, _ = waiting.popleft()
                if done_now is None or done_now.result():
                    through.append(entry_id)
                    if event_id is not None:
                        self._handled.append(event_id)
            if through:
                await self._client.xack(self._stream, self._group, *through)

    async def _keep(self, entry_ids: list[bytes]) -> None:
        """Says that these are still being worked on."""
        with contextlib.suppress(*REDIS_ERRORS):
            await self._client.xclaim(
                self._stream, self._group, self._consumer, min_idle_time=0, message_ids=list(entry_ids), justid=True
            )
