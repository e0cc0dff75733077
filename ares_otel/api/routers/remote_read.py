"""`/prometheus/api/v1/read`: remote read, by which a Prometheus queries Ares as its long-term storage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import asyncpg
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from ares_otel.api.bodies import read_body
from ares_otel.api.held_answers import Finished, held_answer, take_turn
from ares_otel.api.leaving import CLIENT_GONE, ClientGone, unless_gone
from ares_otel.api.problems import RETRY_SECONDS
from ares_otel.api.remote_read import chunks, samples
from ares_otel.api.remote_read.observer import (
    ANSWERED,
    FAILED,
    LEFT,
    REFUSED,
    TOO_MANY,
    UNAVAILABLE,
    ReadObserver,
    SilentReadObserver,
)
from ares_otel.api.remote_read.request import MAX_BODY, ReadQuery, Refused, ResponseType, parse_request
from ares_otel.query.prometheus.select import Selected, TooManySamples, TooManySeries, select
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow

PATH = "/prometheus/api/v1/read"
MAX_SERIES = 100_000
MAX_SAMPLES = 5_000_000
"""Of all queries of a request together, as the series are. A sample takes 16 bytes until it was sent, and more while it
is read."""
TURN_SECONDS = 15.0
"""How long a request waits for its turn."""
READ_SECONDS = 60.0
"""How long its samples may be read; a Prometheus waits a minute by default (`remote_timeout`)."""
_AT_ONCE = 2
"""Answers that are made or sent at the same time."""
_VERSION_HEADER = "X-Prometheus-Remote-Read-Version"
_VERSION = "0.1.0"
_FEWER = "Ask for less time or fewer series"


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What one request may get."""

    max_series: int = MAX_SERIES
    max_samples: int = MAX_SAMPLES
    read_seconds: float = READ_SECONDS


@dataclass(frozen=True, slots=True)
class RemoteReads:
    """How they are answered."""

    limits: ReadLimits = ReadLimits()
    observer: ReadObserver = field(default_factory=SilentReadObserver)


def remote_read_router(pool: asyncpg.Pool, limits: ReadLimits, observer: ReadObserver | None = None) -> APIRouter:
    """The endpoint; it is documented in docs/remote-read.md, for OpenAPI cannot say what is in these bodies.

    Errors are a line of text, which a Prometheus shows to who made the query.
    """
    router = APIRouter()
    turns = asyncio.Semaphore(_AT_ONCE)
    told = observer or SilentReadObserver()

    @router.post(PATH, include_in_schema=False)
    async def read(request: Request) -> Response:
        outcome = FAILED
        try:
            began = time.monotonic()
            body = await _body(request)
            await take_turn(turns, TURN_SECONDS)
            try:
                answers, type_ = await unless_gone(request.receive, _read(body, pool, limits))
                made, headers = await _made(answers, type_)
            except BaseException:
                turns.release()
                raise
            read = sum(len(answer.labels) for answer in answers), sum(len(answer.timestamps) for answer in answers)
            told.read(*read, time.monotonic() - began)
            outcome = ANSWERED
            return held_answer(turns, made, headers, gzip=False)
        except Refused as error:
            outcome = REFUSED
            return _text(error.status, error.message)
        except ClientGone as error:
            outcome = LEFT
            return _text(CLIENT_GONE, str(error))
        except HTTPException as error:
            outcome = REFUSED
            return _text(error.status_code, str(error.detail))
        except (TooManySeries, TooManySamples, samples.TooLong) as error:
            outcome = TOO_MANY
            return _text(HTTPStatus.UNPROCESSABLE_ENTITY, error.message)
        except (DatabaseUnavailable, QueryTooSlow) as error:
            outcome = UNAVAILABLE
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, error.message, {"Retry-After": str(RETRY_SECONDS)})
        finally:
            told.ended(outcome)

    return router


async def _body(request: Request) -> bytes:
    """Raises Refused, and HTTPException for a body that is too large."""
    encoding = request.headers.get("content-encoding", "snappy").strip().lower()
    if encoding != "snappy":
        raise Refused("Compress the body by snappy (Content-Encoding: snappy).", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    media_type = request.headers.get("content-type", samples.MEDIA_TYPE).partition(";")[0].strip().lower()
    if media_type != samples.MEDIA_TYPE:
        raise Refused(f"Send protobuf (Content-Type: {samples.MEDIA_TYPE}).", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    version = request.headers.get(_VERSION_HEADER, _VERSION)
    if version.split(".")[:2] != _VERSION.split(".")[:2]:
        raise Refused(f"This is remote read {_VERSION}; {_VERSION_HEADER} asks for {version[:20]!r}.")
    return await read_body(request, MAX_BODY)


async def _read(body: bytes, pool: asyncpg.Pool, limits: ReadLimits) -> tuple[list[Selected], ResponseType]:
    """What a request gets, and how. Everything is read and nothing encoded yet: what goes wrong with the database is
    told before the first byte. Threads do what takes milliseconds, as compiling patterns does."""
    asked = await asyncio.to_thread(parse_request, body)
    return await _selected(asked.queries, pool, limits), asked.response_type


async def _made(answers: list[Selected], type_: ResponseType) -> tuple[Finished, dict[str, str]]:
    """The answer with its headers. Raises TooLong."""
    if type_ is ResponseType.STREAMED_XOR_CHUNKS:
        return chunks.ChunksAnswer(answers), {"Content-Type": chunks.MEDIA_TYPE}
    made = await asyncio.to_thread(samples.SamplesAnswer, answers)
    return made, {"Content-Type": samples.MEDIA_TYPE, "Content-Encoding": "snappy"}


async def _selected(queries: Sequence[ReadQuery], pool: asyncpg.Pool, limits: ReadLimits) -> list[Selected]:
    """What each query chooses, all together within the limits.

    Raises:
        TooManySeries, TooManySamples, QueryTooSlow, DatabaseUnavailable: as their texts say.
    """
    found: list[Selected] = []
    series, size = limits.max_series, limits.max_samples
    try:
        async with asyncio.timeout(limits.read_seconds):
            for query in queries:
                selected = await select(
                    pool,
                    [query.selector],
                    query.start_ms,
                    query.end_ms,
                    max_series=series,
                    max_samples=size,
                    newest_only=query.labels_only,
                )
                found.append(selected)
                series, size = series - len(selected.labels), size - selected.weight
    except TimeoutError:
        raise QueryTooSlow(
            f"The samples could not be read in {limits.read_seconds:g} seconds; ask for less time or fewer series."
        ) from None
    except TooManySeries:
        raise TooManySeries(f"The request would get more than {limits.max_series} series. {_FEWER}.") from None
    except TooManySamples:
        raise TooManySamples(
            f"The request would get more than {limits.max_samples} samples. {_FEWER}, or raise --query-max-samples."
        ) from None
    return found


def _text(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{message}\n", status, headers)
