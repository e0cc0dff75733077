"""The byte budget: how much request data may be in memory at once, over all receivers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType

from ares_otel.model.clock import SYSTEM_CLOCK, Clock
from ares_otel.model.errors import Overloaded, TooLarge

DEFAULT_LIMIT_BYTES = 256 * 1024 * 1024

STALLED_SECONDS = 1.0
"""A request of which next to nothing arrived for so long may lose its part of the budget to one that is there."""
PROGRESS_BYTES = 16 * 1024
"""What has to arrive within that time to count as something: a byte now and then does not."""

FULL = "The memory budget for requests is used up; send the data again later."
STALLED = "The request arrived too slowly while others waited for its place; send it again later."


class Admission:
    """A counter of bytes in flight with a limit. Bytes are reserved before they are read or inflated, so that memory
    stays bounded whatever senders do. Reserving never waits: over the limit means `Overloaded`, at once.

    Requests that are still arriving hold what they have sent. When the budget is used up, those that have stalled (less
    than `PROGRESS_BYTES` in `STALLED_SECONDS`) lose it, the longest silence first: somebody who sends a byte a second,
    or stops in the middle, cannot keep others out.
    """

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._clock = clock
        self._arriving: OrderedDict[Reservation, float] = OrderedDict()
        """Requests that are still arriving, and when the last part came; the longest silence first."""

    def reservation(self) -> Reservation:
        """An empty reservation, to be used as a context manager; it grows with the request."""
        return Reservation(self)

    def make_room(self, size: int) -> bool:
        """Whether `size` bytes are free; takes them from requests that have stalled where they are not."""
        return self.used_bytes + size <= self.limit_bytes or self._evict(size)

    def _evict(self, size: int) -> bool:
        stalled_before = self._clock.monotonic() - STALLED_SECONDS
        while self._arriving:
            reservation, since = next(iter(self._arriving.items()))
            if since > stalled_before:
                break
            reservation.evict()
            if self.used_bytes + size <= self.limit_bytes:
                return True
        return False

    def _note(self, reservation: Reservation) -> None:
        self._arriving[reservation] = self._clock.monotonic()
        self._arriving.move_to_end(reservation)

    def _forget(self, reservation: Reservation) -> None:
        self._arriving.pop(reservation, None)


class Reservation:
    """The part of the budget that one request holds; given back when the `with` block ends."""

    __slots__ = ("_admission", "_came", "_give_up", "evicted", "held_bytes")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._give_up: Callable[[], None] | None = None
        self._came = 0
        self.held_bytes = 0
        self.evicted = False
        """Whether the bytes were taken away because the request had stalled."""

    def grow(self, size: int) -> None:
        """Reserves `size` more bytes.

        Raises:
            Overloaded: others hold the budget now, or this request has lost its part.
            TooLarge: this request alone is over the whole budget.
        """
        admission = self._admission
        if self.evicted:
            raise Overloaded(STALLED)
        if self.held_bytes + size > admission.limit_bytes:
            raise TooLarge("The request is larger than the memory budget for requests (admission_limit_mib).")
        if not admission.make_room(size):
            raise Overloaded(FULL)
        if self.evicted:  # by itself: it had stalled, and was the one to make room
            raise Overloaded(STALLED)
        admission.used_bytes += size
        self.held_bytes += size

    def expect(self, size: int) -> None:
        """Refuses a request that says it will need `size` bytes more, before any work is done for it.

        Raises:
            Overloaded: they are not free now.
        """
        if self._admission.limit_bytes >= size and not self._admission.make_room(size):
            raise Overloaded(FULL)

    def shrink(self, size: int) -> None:
        """Gives `size` bytes back."""
        size = min(size, self.held_bytes)
        self._admission.used_bytes -= size
        self.held_bytes -= size

    def arriving(self, give_up: Callable[[], None]) -> None:
        """Notes that the request is still coming in. `give_up` is called, from another request's `grow`, when this one
        has stalled and lost its bytes; it must not raise, and makes the reading end."""
        self._give_up = give_up
        self._admission._note(self)

    def progress(self, size: int) -> None:
        """Notes that `size` bytes of the request have come."""
        self._came += size
        if self._give_up is not None and self._came >= PROGRESS_BYTES:
            self._came = 0
            self._admission._note(self)

    def arrived(self) -> None:
        """Notes that the request is here: from now on nothing is taken away."""
        self._give_up = None
        self._admission._forget(self)

    def evict(self) -> None:
        """Takes all bytes away from a request that is still arriving."""
        give_up = self._give_up
        self.arrived()
        self.evicted = True
        self.shrink(self.held_bytes)
        if give_up is not None:
            give_up()

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.arrived()
        self.shrink(self.held_bytes)
