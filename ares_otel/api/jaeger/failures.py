"""What Jaeger's doors say when something goes wrong: gRPC's codes, over HTTP as grpc-gateway tells them.

Source: google/rpc/code.proto, which also says which HTTP status a code is. A query that took too long is 503 as in the
other APIs of Ares.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from http import HTTPStatus
from typing import Protocol, TypeVar

import orjson

from ares_otel.model.rpc import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    RpcFailure,
)
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.query.search.expression import Refused

HTTP_STATUSES = {
    INVALID_ARGUMENT: 400,
    NOT_FOUND: 404,
    UNIMPLEMENTED: 501,
    RESOURCE_EXHAUSTED: 429,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    DEADLINE_EXCEEDED: 503,
}
Item = TypeVar("Item", covariant=True)


class Stream(Protocol[Item]):
    """An asynchronous generator of which only this is used."""

    def __aiter__(self) -> AsyncIterator[Item]: ...
    async def aclose(self) -> None: ...


@contextmanager
def told() -> Iterator[None]:
    """What queries raise leaves the block as RpcFailure."""
    try:
        yield
    except Refused as error:
        raise RpcFailure(INVALID_ARGUMENT, str(error)) from error
    except DatabaseUnavailable as error:
        raise RpcFailure(UNAVAILABLE, error.message) from error
    except QueryTooSlow as error:
        raise RpcFailure(DEADLINE_EXCEEDED, error.message) from error


async def told_stream(items: Stream[Item]) -> AsyncIterator[Item]:
    """The items; what they raise leaves as RpcFailure. Closes them at the end."""
    with told():
        async with aclosing(items) as opened:
            async for item in opened:
                yield item


def error_body(code: int, http_status: int, message: str) -> bytes:
    """The body of an error over HTTP."""
    return orjson.dumps(
        {
            "error": {
                "grpcCode": code,
                "httpCode": http_status,
                "message": message,
                "httpStatus": HTTPStatus(http_status).phrase,
            }
        }
    )
