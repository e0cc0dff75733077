"""What Jaeger's doors say when something goes wrong: gRPC's codes, over HTTP as grpc-gateway tells them.

Source: google/rpc/code.proto, which also says which HTTP status a code is. A query that took too long is 503 as in the
other APIs of Ares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

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


def tell_incomplete(found: int, *, complete: bool) -> None:
    """Raises RpcFailure behind the traces of a search that had no time for all of them: none of these protocols has
    another place to say so, and what was sent must not pass for everything that matches."""
    if not complete:
        raise RpcFailure(
            DEADLINE_EXCEEDED,
            f"The search had time for the newest {found} traces that match; narrow the time range, name a service, or "
            f"ask for {found} at most (search_depth).",
        )


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
