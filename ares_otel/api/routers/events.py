"""The event bus over REST: publish, follow, and how it does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ares_otel.api import event_models as models
from ares_otel.api.bodies import read_body
from ares_otel.api.envelope import IS_HEAD
from ares_otel.api.event_streams import EventStreams, Stream, TooManyStreams
from ares_otel.api.openapi import PROBLEMS
from ares_otel.api.parameters import NoParameters, each_once
from ares_otel.api.problems import (
    CONTENT_TOO_LARGE,
    RETRY_SECONDS,
    TOO_MANY_STREAMS,
    FieldError,
    InvalidParameters,
    problem,
)
from ares_otel.api.rendering import json_response
from ares_otel.control.config.values import BadJson, parse_json
from ares_otel.model.bus import DATA_LIMIT, OWN_TOPICS, Event, TopicCount

_EVENT_ID = re.compile(r"[!-~]{1,200}")

Topic = Annotated[
    str,
    Path(
        description="Words of letters, digits, _ and -, joined by dots. To follow several: `*` stands for one word, "
        "`**` at the end for any number.",
        examples=["trade.executed"],
    ),
]


class FollowParameters(NoParameters):
    """Query of a stream."""

    last_event_id: str | None = Field(
        None,
        json_schema_extra={"type": "string", "maxLength": 200},
        description="Go on behind this event; the header `Last-Event-ID` does the same.",
    )


def events_router(streams: EventStreams, topics: Callable[[], Sequence[TopicCount]]) -> APIRouter:
    """The endpoints under `/api/v1/events`. `topics`: what was counted by topic, the busiest first."""
    bus = streams.bus
    router = APIRouter(prefix="/api/v1/events", tags=["events"], dependencies=[Depends(each_once)])

    @router.get(
        "",
        name="event_bus",
        summary="How the event bus does",
        responses={200: {"model": models.BusState, "content": {"application/json": {"example": models.STATE}}}},
    )
    async def state(_: Annotated[NoParameters, Query()]) -> Response:
        """What carries events now and since when, the counts, and the topics with their rates."""
        health = await bus.health()
        return json_response(
            {
                "mode": health.mode,
                "since": _time(health.since),
                "wanted": health.wanted,
                "healthy": health.healthy,
                "detail": health.detail,
                "published": health.published,
                "delivered": health.delivered,
                "dropped": health.dropped,
                "failed": health.failed,
                "waiting": health.waiting,
                "topics": [
                    {"topic": row.topic, "published": row.published, "per_second": row.per_second} for row in topics()
                ],
            }
        )

    @router.post(
        "/{topic}",
        name="publish_event",
        summary="Publish an event",
        status_code=202,
        responses={
            202: {"model": models.PublishedEvent, "content": {"application/json": {"example": models.PUBLISHED}}}
        },
        openapi_extra={
            PROBLEMS: [CONTENT_TOO_LARGE.slug],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {}, "example": {"price": 1.5, "symbol": "ARES"}}},
            },
        },
    )
    async def publish(topic: Topic, request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        """The body is the event's data: any JSON of at most 1 MiB. The answer comes when the event is on its way."""
        body = await read_body(request, DATA_LIMIT)
        if topic.partition(".")[0] in OWN_TOPICS:
            reserved = ", ".join(f"{word}.*" for word in sorted(OWN_TOPICS))
            raise InvalidParameters(FieldError("topic", f"Ares alone publishes {reserved}; take another first word."))
        try:
            data = parse_json(body)
        except BadJson as error:
            raise InvalidParameters(FieldError("body", str(error))) from None
        try:
            event = await bus.publish(topic, data)
        except ValueError as error:
            field = "topic" if str(error).startswith("A topic") else "body"
            raise InvalidParameters(FieldError(field, f"{error}.")) from None
        return json_response({"id": event.id, "topic": event.topic}, status=202)

    @router.get(
        "/{topic}",
        name="follow_events",
        summary="Events as they happen",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events",
                "content": {"text/event-stream": {"schema": {"type": "string"}, "example": models.STREAM}},
            }
        },
        openapi_extra={PROBLEMS: [TOO_MANY_STREAMS.slug]},
    )
    async def follow(topic: Topic, request: Request, query: Annotated[FollowParameters, Query()]) -> Response:
        """Server-sent events: every event of the topic, or of all that the pattern wants. With `Last-Event-ID` it goes
        on behind that event, if that is not too long ago (a thousand events); else it says so with an event `gap`, as
        it does when the client is too slow."""
        after = query.last_event_id or request.headers.get("last-event-id")
        if after is not None and not _EVENT_ID.fullmatch(after):
            raise InvalidParameters(FieldError("last_event_id", "The value must be the id of an event of this stream."))
        try:
            stream = await streams.follow(topic, after)
        except TooManyStreams:
            return problem(
                TOO_MANY_STREAMS,
                "This Ares serves as many streams as it can, or is stopping; close some, or ask another process.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        except ValueError as error:
            raise InvalidParameters(FieldError("topic", f"{error}.")) from None
        return _EventResponse(stream, silent=bool(request.scope.get(IS_HEAD)))

    return router


class _EventResponse(StreamingResponse):
    """A stream as a response; closed when the response has ended, however it did."""

    def __init__(self, stream: Stream, *, silent: bool) -> None:
        super().__init__(
            _render(stream, silent=silent), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.close()


async def _render(stream: Stream, *, silent: bool) -> AsyncIterator[bytes]:
    if silent:
        return
    yield b"retry: 1000\n\n"
    async for event in stream:
        if event is None:
            yield b": still here\n\n"
        elif isinstance(event, int):
            yield b"event: gap\ndata: %s\n\n" % orjson.dumps({"missing": None if event < 0 else event})
        else:
            yield b"id: %s\nevent: message\ndata: %s\n\n" % (event.id.encode(), orjson.dumps(_event(event)))


def _event(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "topic": event.topic,
        "data": event.data,
        "published_at": _time(event.published_at),
        "source": event.source,
    }


def _time(value: datetime) -> str:
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
