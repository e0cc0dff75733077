"""Reading one gRPC message: how many may be on their way into memory at once, and for how long."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any

from ares_otel.model.errors import Overloaded
from ares_otel.pipeline.admission import FULL, STALLED, STALLED_SECONDS, Admission, Reservation

READ_SECONDS = 20.0
"""A message has to arrive within this time."""
WAITING_A_PLACE = 8
"""Calls that may wait for each place. What waits is not read: it holds HTTP/2's window and nothing else."""
SHARE = 2
"""Messages on their way in may take the budget's SHARE-th part: its rest is for what is here."""

NOT_IN_TIME = "The message did not arrive in time; send it again."


class Reading:
    """Places for messages on their way in.

    gRPC says neither how long a message is nor how much of it has come, so a place reserves the largest message, and
    gives the rest back when the real size is known. A call that finds no place waits for one, a moment. A message that
    takes longer than `STALLED_SECONDS` keeps its place only as long as nobody else waits.
    """

    def __init__(self, admission: Admission, message_bytes: int, *, seconds: float = READ_SECONDS) -> None:
        """
        Args:
            message_bytes: the largest message that is taken.
            seconds: how long one message may take.
        """
        share = admission.limit_bytes // SHARE
        self.place_bytes = min(message_bytes, share)
        """What a place reserves."""
        self.places = max(1, share // self.place_bytes)
        """How many messages may be on their way in at once."""
        self._admission = admission
        self._seconds = seconds
        self._taken = 0
        self._readers: OrderedDict[Reservation, float] = OrderedDict()
        """Who reads, and since when on the clock of the loop; the oldest first."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def read(self, reservation: Reservation, receive: Callable[[], Awaitable[Any]]) -> Any:
        """What `receive` gives, with its size reserved (nothing for what are no bytes).

        Raises:
            Overloaded: no room now, or the message came too slowly.
        """
        if not self._admission.make_room(self.place_bytes):
            raise Overloaded(FULL)  # before it waits for anything
        if self._taken < self.places and not self._waiting:
            self._taken += 1
        else:
            await self._wait()
        try:
            return await self._receive(reservation, receive)
        finally:
            self._readers.pop(reservation, None)
            self._leave()

    async def _receive(self, reservation: Reservation, receive: Callable[[], Awaitable[Any]]) -> Any:
        loop = asyncio.get_running_loop()
        patience = asyncio.timeout(self._seconds)
        reservation.grow(self.place_bytes)
        self._readers[reservation] = loop.time()
        try:
            async with patience:
                reservation.arriving(lambda: patience.reschedule(loop.time()))
                message = await receive()
        except TimeoutError:
            raise Overloaded(STALLED if reservation.evicted else NOT_IN_TIME) from None
        if reservation.evicted:  # in the very moment in which it came
            raise Overloaded(STALLED)
        reservation.arrived()
        reservation.shrink(self.place_bytes)
        if isinstance(message, bytes):
            reservation.grow(len(message))
        return message

    def _leave(self) -> None:
        """Hands the place on to who waits longest, or notes that it is free."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._taken -= 1

    async def _wait(self) -> None:
        """Waits until a place is handed on.

        Raises:
            Overloaded: too many wait already, or none became free for a while.
        """
        if len(self._waiting) >= WAITING_A_PLACE * self.places:
            raise Overloaded(FULL)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            for _ in range(2):  # whoever reads now has stalled at the end of the first round
                self._evict_oldest()
                await asyncio.wait([turn], timeout=STALLED_SECONDS)
                if turn.done():
                    return
        except BaseException:
            if turn.done():
                self._leave()
            raise
        finally:
            if not turn.done():
                self._waiting.remove(turn)
        raise Overloaded(FULL)

    def _evict_oldest(self) -> bool:
        """Ends the oldest reading, if it has taken long; its place is handed on when it has noticed."""
        now = asyncio.get_running_loop().time()
        for reservation, since in self._readers.items():
            if now - since < STALLED_SECONDS:
                return False
            del self._readers[reservation]
            reservation.evict()
            return True
        return False
