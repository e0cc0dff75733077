"""The way to other processes: events over Redis Streams, as long as Redis is there.

Two streams: `ares:events:stream` for everything, `ares:events:tail` for the live tail, which is short. Every process
reads them from its own last id; groups read the first with XREADGROUP (`groups.py`). `ares:events:wanted` tells what
processes listen to, for a few seconds each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import OutOfMemoryError, ResponseError

from ares_otel.eventbus import wire
from ares_otel.eventbus.connection import (
    ANSWER_SECONDS,
    REDIS_ERRORS,
    Backoff,
    client,
    entry_number,
    reason,
    redis_url,
    shown,
)
from ares_otel.eventbus.counts import Counts
from ares_otel.eventbus.ending import end
from ares_otel.eventbus.groups import GroupMember
from ares_otel.eventbus.outbox import Outbox
from ares_otel.eventbus.queues import Delivery
from ares_otel.eventbus.topics import check_pattern, is_tail, matches

STREAM = "ares:events:stream"
TAIL_STREAM = "ares:events:tail"
WANTED = "ares:events:wanted"
ALIVE = "ares:events:process:"
ONCE = "ares:events:once:"

LENGTH = 10_000
"""Entries that Redis keeps, about."""
TAIL_LENGTH = 1_000
LOOK_SECONDS = 1.0
WANTED_SECONDS = 10
ONCE_SECONDS = 3600
MAX_WANTED = 1000
BLOCK_MS = 1000
READ_EVENTS = 50
SEND_EVENTS = 100
SEND_BYTES = 1024 * 1024
CLAIM_SECONDS = 60.0
DRAIN_SECONDS = 5.0

log = logging.getLogger("ares_otel.eventbus")


class RedisLink:
    """Sends what is in the outbox and hands on what other processes sent. `start` returns at once; the link comes up
    when Redis answers and goes down when it does not, as often as it takes."""

    def __init__(
        self,
        url: str,
        *,
        outbox: Outbox,
        counts: Counts,
        receive: Callable[[wire.Received], None],
        changed: Callable[[bool], None],
        listens_to: Callable[[], Iterable[str]],
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        """
        Args:
            url: see `connection.redis_url`.
            receive: called with every event of another process.
            changed: called with True when the link came up, with False when it went down.
            listens_to: the patterns that this process's subscribers want.
            claim_seconds: after that long without a sign of life a member's unfinished events go to another one.

        Raises:
            ValueError: the URL is none.
        """
        self.url = redis_url(url)
        self.process = uuid.uuid4().hex
        self.up = False
        self.since = datetime.now(UTC)
        self.detail = f"{shown(self.url)} was not reached yet."
        self._outbox = outbox
        self._counts = counts
        self._receive = receive
        self._changed = changed
        self._listens_to = listens_to
        self._claim_seconds = claim_seconds
        self._client = client(self.url)
        self._reader = client(self.url)
        self._members: dict[Delivery, GroupMember] = {}
        self._last: dict[str, str] = {}
        self._last_sent = "0-0"
        self._wanted: tuple[str, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_up = asyncio.Event()
        self._positioned = asyncio.Event()
        self._look_now = asyncio.Event()
        self._sent = asyncio.Event()
        self._retry_at = 0.0
        self._backoff = Backoff()

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._look_loop(), name="redis look"),
            asyncio.create_task(self._send_loop(), name="redis send"),
            asyncio.create_task(self._read_loop(), name="redis read"),
        ]

    async def wait_up(self, seconds: float) -> bool:
        """Whether the link came up within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_up.wait()
        except TimeoutError:
            return False
        return True

    async def drain(self) -> None:
        """Sends the outbox and lets this process's group members finish, within seconds, while the link is up."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while len(self._outbox) and self.up:
                    self._sent.clear()
                    await self._sent.wait()
                if self.up:
                    await asyncio.gather(*(member.caught_up(self._last_sent) for member in self._members.values()))
        except (*REDIS_ERRORS, TimeoutError):
            log.warning("Not all events could be handed to Redis, or handled, before the bus let go of it.")

    async def close(self) -> None:
        """Lets go of Redis. Safe twice."""
        for member in list(self._members.values()):
            await member.stop()
        self._members.clear()
        await end(self._tasks)
        self._tasks = []
        for connections in (self._client, self._reader):
            await connections.aclose()

    async def join(self, delivery: Delivery) -> None:
        """Makes a subscription with a group a member of it. While Redis is there it is one when this returns."""
        member = self._members[delivery] = GroupMember(
            delivery,
            url=self.url,
            stream=STREAM,
            consumer=f"{self.process}-{len(self._members)}-{uuid.uuid4().hex[:8]}",
            counts=self._counts,
            claim_seconds=self._claim_seconds,
        )
        member.start()
        if self.up:
            with contextlib.suppress(*REDIS_ERRORS):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await member.make()

    async def leave(self, delivery: Delivery) -> None:
        member = self._members.pop(delivery, None)
        if member is not None:
            await member.stop()

    def look(self) -> None:
        """Tells the other processes soon that what is listened to here has changed."""
        self._look_now.set()

    def wanted(self, topic: str) -> bool:
        """Whether another process has said within the last seconds that it listens to the topic."""
        return any(matches(pattern, topic) for pattern in self._wanted)

    # The link is up as long as a look, and every sending, succeeds.

    async def _look_loop(self) -> None:
        while True:
            try:
                async with asyncio.timeout(2 * ANSWER_SECONDS):
                    await self._look()
            except REDIS_ERRORS as error:
                self._down(error)
            except Exception:
                log.exception("A look at Redis failed for a reason that is not Redis's.")
                self._down(ConnectionError("unexpected answer"))
            else:
                self._come_up()
            if self.up:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._look_now.wait()
            else:
                await asyncio.sleep(max(0.05, self._retry_at - asyncio.get_running_loop().time()))
            self._look_now.clear()

    async def _look(self) -> None:
        """Where the streams end, who listens to what; and tells what is listened to here."""
        for stream in (STREAM, TAIL_STREAM):
            end = await self._end_of(stream)
            mine = self._last.get(stream)
            # Ids grow with the server's clock; a server that starts anew with a clock that went back begins lower.
            if mine is None or (stream == TAIL_STREAM and not self._listens_to_tail()):
                self._last[stream] = end
            elif entry_number(end) < entry_number(mine) and end != "0-0":
                self._last[stream] = "0-0"
        self._positioned.set()
        for member in list(self._members.values()):
            await member.make()  # before the first event is sent
        seconds, _ = await self._client.time()
        now = int(seconds)
        patterns = dict.fromkeys(list(self._listens_to())[:MAX_WANTED], now + WANTED_SECONDS)
        pipe = self._client.pipeline(transaction=False)
        pipe.set(f"{ALIVE}{self.process}", b"1", ex=WANTED_SECONDS)
        if patterns:
            pipe.zadd(WANTED, patterns)
            pipe.expire(WANTED, 6 * WANTED_SECONDS)
        pipe.zremrangebyscore(WANTED, "-inf", now)
        pipe.zrangebyscore(WANTED, now, "+inf", start=0, num=MAX_WANTED)
        found: list[Any] = await pipe.execute()
        self._wanted = tuple(filter(None, map(_pattern, found[-1])))

    async def _end_of(self, stream: str) -> str:
        try:
            info = await self._client.xinfo_stream(stream)
        except OutOfMemoryError:
            raise
        except ResponseError as error:
            if "no such key" in str(error):
                return "0-0"
            raise
        return bytes(info["last-generated-id"]).decode()

    def _come_up(self) -> None:
        loop = asyncio.get_running_loop()
        if self.up:
            if loop.time() > self._retry_at + 10:
                self._backoff.reset()
            return
        if loop.time() < self._retry_at:
            return
        self.up = True
        self.since = datetime.now(UTC)
        self.detail = f"Events go over {shown(self.url)}."
        self._is_up.set()
        log.info("The event bus is connected to %s.", shown(self.url))
        self._changed(True)

    def _down(self, error: BaseException) -> None:
        detail = reason(error, self.url)
        self._retry_at = asyncio.get_running_loop().time() + self._backoff.pause()
        if detail != self.detail:
            log.warning("The event bus works without Redis (%s): %s", shown(self.url), detail)
        self.detail = detail
        self._wanted = ()
        self._sent.set()
        if self.up:
            self.up = False
            self.since = datetime.now(UTC)
            self._is_up.clear()
            self._changed(False)

    # Sending.

    async def _send_loop(self) -> None:
        while True:
            await self._is_up.wait()
            await self._outbox.filled.wait()
            if not self.up:
                continue
            try:
                async with asyncio.timeout(2 * ANSWER_SECONDS):
                    await self._send()
            except REDIS_ERRORS as error:
                self._down(error)
            except Exception:
                log.exception("Sending to Redis failed for a reason that is not Redis's.")
                self._down(ConnectionError("unexpected answer"))
            self._sent.set()

    async def _send(self) -> None:
        batch = self._outbox.head(SEND_EVENTS, SEND_BYTES)
        twins = set()
        for outgoing in batch:
            if outgoing.named and not await self._mine(outgoing.event.id):
                twins.add(outgoing)
        pipe = self._client.pipeline(transaction=False)
        sent = [outgoing for outgoing in batch if outgoing not in twins]
        for outgoing in sent:
            fields: Any = wire.encode(outgoing.event, outgoing.payload, self.process, outgoing.done)
            tail = is_tail(outgoing.event.topic)
            pipe.xadd(TAIL_STREAM if tail else STREAM, fields, maxlen=TAIL_LENGTH if tail else LENGTH)
        results = await pipe.execute(raise_on_error=False) if sent else []
        failures = [result for result in results if isinstance(result, BaseException)]
        for outgoing in twins:
            outgoing.sent = True
        for outgoing, result in zip(sent, results, strict=True):
            outgoing.sent = not isinstance(result, BaseException)
            if outgoing.sent and not is_tail(outgoing.event.topic):
                self._last_sent = result.decode()
        self._outbox.remove_sent(len(batch))
        if failures:
            raise failures[0]

    async def _mine(self, id: str) -> bool:
        """Whether this process is the first to publish an event whose id its publisher chose."""
        mine = self.process.encode()
        if await self._client.set(f"{ONCE}{id}", mine, ex=ONCE_SECONDS, nx=True):
            return True
        return bool(await self._client.get(f"{ONCE}{id}") == mine)

    # Reading.

    async def _read_loop(self) -> None:
        backoff = Backoff()
        await self._positioned.wait()
        while True:
            streams: dict[Any, Any] = {STREAM: self._last[STREAM]}
            if self._listens_to_tail():
                streams[TAIL_STREAM] = self._last[TAIL_STREAM]
            try:
                found: Any = await self._reader.xread(streams, count=READ_EVENTS, block=BLOCK_MS)
                backoff.reset()
                for stream, entries in found or ():
                    self._take(stream.decode(), entries)
            except REDIS_ERRORS as error:
                log.debug("Reading events from Redis failed: %s", reason(error, self.url))
                await asyncio.sleep(backoff.pause())
            except Exception:
                log.exception("Reading events from Redis failed for a reason that is not Redis's.")
                await asyncio.sleep(backoff.pause())

    def _take(self, stream: str, entries: list[tuple[bytes, wire.Fields]]) -> None:
        for entry_id, fields in entries:
            self._last[stream] = entry_id.decode()
            received = wire.decode(fields)
            if received is None:
                self._counts.add("skipped")
            elif received.process != self.process:
                self._receive(received)

    def _listens_to_tail(self) -> bool:
        return any(is_tail(pattern) for pattern in self._listens_to())


def _pattern(value: bytes) -> str | None:
    try:
        return check_pattern(value.decode("ascii"))
    except ValueError:
        return None
