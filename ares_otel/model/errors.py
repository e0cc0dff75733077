"""The two ways in which a batch can fail. Where an error arises it is decided which one it is; receivers map them to
protocol codes in one place. The docstring of a class is its default message, written for the sender's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class AresError(Exception):
    """Ares could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        """A sentence for people."""
        return str(self.args[0])


class Retryable(AresError):
    """The data could not be stored just now; send it again later."""

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which a retry makes sense."""


class Overloaded(Retryable):
    """Ares is at its limit; send the data again later."""


class Unavailable(Retryable):
    """The database cannot store the data now; send it again later."""


class InFlight(Retryable):
    """The same request is just being stored; send it again later to hear how it ended."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field of a request, as `google.rpc.BadRequest.FieldViolation` has it."""

    field: str
    description: str


class Rejected(AresError):
    """The data is invalid; sending it again cannot help."""

    def __init__(self, message: str | None = None, *, violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)


class TooLarge(Rejected):
    """The request is larger than the receiver takes; send smaller batches."""


class SenderGone(Exception):
    """The sender left before its request was complete; there is nobody to answer."""


class StartError(AresError):
    """Ares could not start. The message is the one clear line that a person sees; it names the setting to change."""


class AddressInUse(StartError):
    """Something else listens on this address already."""
