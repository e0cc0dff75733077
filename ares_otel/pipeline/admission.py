"""The byte budget: how much request data may be in memory at once, over all receivers."""

from __future__ import annotations

from types import TracebackType

from ares_otel.model.errors import Overloaded, TooLarge

DEFAULT_LIMIT_BYTES = 256 * 1024 * 1024


class Admission:
    """A counter of bytes in flight with a limit. Bytes are reserved before they are read or inflated, so that memory
    stays bounded whatever senders do. Reserving never waits: over the limit means `Overloaded`, at once."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def reservation(self) -> Reservation:
        """An empty reservation, to be used as a context manager; it grows with the request."""
        return Reservation(self)


class Reservation:
    """The part of the budget that one request holds; given back when the `with` block ends."""

    __slots__ = ("_admission", "held_bytes")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.held_bytes = 0

    def grow(self, size: int) -> None:
        """Reserves `size` more bytes.

        Raises:
            Overloaded: others hold the budget now.
            TooLarge: this request alone is over the whole budget.
        """
        admission = self._admission
        if self.held_bytes + size > admission.limit_bytes:
            raise TooLarge("The request is larger than the memory budget for requests (admission_limit_mib).")
        if admission.used_bytes + size > admission.limit_bytes:
            raise Overloaded("The memory budget for requests is used up; send the data again later.")
        admission.used_bytes += size
        self.held_bytes += size

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._admission.used_bytes -= self.held_bytes
        self.held_bytes = 0
