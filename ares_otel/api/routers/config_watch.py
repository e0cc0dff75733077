"""The stream of changes of settings: server-sent events, in the order of the commits."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import StreamingResponse

from ares_otel.api import config_examples as examples
from ares_otel.api.config_parameters import MAX_CHANGE, ServiceName, WatchParameters
from ares_otel.api.config_rendering import render_event, render_setting
from ares_otel.api.envelope import IS_HEAD
from ares_otel.api.openapi import PROBLEMS
from ares_otel.api.parameters import each_once
from ares_otel.api.problems import RETRY_SECONDS, TOO_MANY_STREAMS, FieldError, InvalidParameters, problem
from ares_otel.control.config.changes import ChangeFeed, TooManyWatchers
from ares_otel.control.config.rows import Change
from ares_otel.control.config.service import Settings

BEAT_SECONDS = 10.0
"""Seconds of silence after which a comment is sent, so that nothing on the way takes the stream for dead."""


def config_watch_router(feed: ChangeFeed) -> APIRouter:
    """`/api/v1/config/{service_name}/watch`."""
    router = APIRouter(prefix="/api/v1/config", tags=["config"], dependencies=[Depends(each_once)])

    @router.get(
        "/{service_name}/watch",
        name="watch_settings",
        summary="Changes of a service's settings as they happen",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events",
                "content": {"text/event-stream": {"schema": {"type": "string"}, "example": examples.STREAM}},
            }
        },
        openapi_extra={PROBLEMS: [TOO_MANY_STREAMS.slug]},
    )
    async def watch(
        service_name: ServiceName, request: Request, query: Annotated[WatchParameters, Query()]
    ) -> Response:
        """First an event `snapshot` with all settings, then an event `config` for every change, in the order of the
        commits. With `Last-Event-ID` it goes on behind that event, without a snapshot. Secrets are not in it."""
        try:
            snapshot, changes = await feed.watch(service_name, after=_last(request, query))
        except TooManyWatchers:
            return problem(
                TOO_MANY_STREAMS,
                "This Ares serves as many streams as it can, or is stopping; close some, or ask another process.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        silent = bool(request.scope.get(IS_HEAD))
        return StreamingResponse(
            _nothing() if silent else _events(service_name, snapshot, changes),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    return router


async def _events(
    service: str, snapshot: tuple[int, Settings] | None, changes: AsyncIterator[Change | None]
) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    if snapshot is not None:
        number, settings = snapshot
        data = {
            "service_name": service,
            "configs": [render_setting(row) for row in settings.rows],
            "truncated": settings.truncated,
            "revision": settings.revision,
        }
        yield _event(number, "snapshot", data)
    last = time.monotonic()
    async for change in changes:
        if change is not None:
            yield _event(change.id, "config", render_event(change))
        elif time.monotonic() - last < BEAT_SECONDS:
            continue
        else:
            yield b": still here\n\n"
        last = time.monotonic()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _event(number: int, name: str, data: dict[str, Any]) -> bytes:
    # JSON as PostgreSQL and orjson write it has no line break, which would end the data.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), orjson.dumps(data))


def _last(request: Request, query: WatchParameters) -> int | None:
    header = request.headers.get("last-event-id")
    if header is None or query.last_event_id is not None:
        return query.last_event_id
    if not re.fullmatch(r"[0-9]{1,19}", header, re.ASCII) or int(header) > MAX_CHANGE:
        raise InvalidParameters(FieldError("Last-Event-ID", "The value must be the id of an event of this stream."))
    return int(header)
