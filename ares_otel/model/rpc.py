"""A method of a gRPC service, before there is a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from ares_otel.model.errors import AresError

# google/rpc/code.proto
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14


class RpcFailure(AresError):
    """The call ends with an error that its caller is told."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        """Of gRPC's status codes (google/rpc/code.proto)."""


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """What a method takes, and how it is answered.

    The answer is one message, or a stream of them. It may raise RpcFailure; whatever else it raises is a mistake of
    Ares, and said to be one.
    """

    service: str
    name: str
    request: type[Message]
    one: Callable[[Any], Awaitable[Message]] | None = None
    stream: Callable[[Any], AsyncGenerator[Message, None]] | None = None
