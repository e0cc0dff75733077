"""Traces that somebody pins, so that they survive retention."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response

from ares_otel.api import pinned_models
from ares_otel.api.answers import ok
from ares_otel.api.bodies import parse_body
from ares_otel.api.openapi import PROBLEMS
from ares_otel.api.parameters import NoParameters, PinnedParameters, TraceId, each_once
from ares_otel.api.problems import (
    PIN_NOT_FOUND,
    PIN_REFUSED,
    TRACE_NOT_FOUND,
    FieldError,
    InvalidParameters,
    problem,
)
from ares_otel.api.rendering import json_response, render_time
from ares_otel.query.cursor import Cursor
from ares_otel.query.pinned import (
    PinnedTrace,
    PinRefused,
    find_pinned,
    find_pinned_trace,
    pin_trace,
    unpin_trace,
)

MAX_BODY = 16 * 1024
"""Bytes of what says who pins."""
_BODY = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": pinned_models.PinBody.model_json_schema(),
                "example": pinned_models.BODY,
            }
        },
    }
}
_ONE = ok(pinned_models.PinnedTrace, pinned_models.PINNED)
_PIN = "/trace/{trace_id}/pin"


def pinned_router(pool: asyncpg.Pool) -> APIRouter:
    """The endpoints `/api/v1/observability/pinned` and `/api/v1/observability/trace/{trace_id}/pin`."""
    router = APIRouter(prefix="/api/v1/observability", tags=["observability"], dependencies=[Depends(each_once)])

    @router.get(
        "/pinned",
        name="pinned",
        summary="Pinned traces, the latest pin first",
        responses=ok(pinned_models.PinnedPage, pinned_models.PAGE),
    )
    async def pinned(query: Annotated[PinnedParameters, Query()]) -> Response:
        """Rows of `pinned_traces`, page by page: which traces survive retention, and who wanted it."""
        page = await find_pinned(pool, limit=query.limit, after=_cursor(query.cursor))
        return json_response(
            {"pinned": [render_pinned(row) for row in page.rows], "next": page.next and page.next.encode()}
        )

    @router.get(
        _PIN,
        name="pin",
        summary="Whether a trace is pinned",
        responses=_ONE,
        openapi_extra={PROBLEMS: [PIN_NOT_FOUND.slug]},
    )
    async def pin(trace_id: TraceId, _: Annotated[NoParameters, Query()]) -> Response:
        """A row of `pinned_traces`; 404 for a trace that is not pinned."""
        return _answer(await find_pinned_trace(pool, trace_id), trace_id)

    @router.post(
        _PIN,
        name="pin_trace",
        summary="Pin a trace",
        responses=_ONE,
        openapi_extra={**_BODY, PROBLEMS: [PIN_REFUSED.slug]},
    )
    async def pin_a_trace(trace_id: TraceId, request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        """The trace survives retention from now on: its spans and log records are copied, those that come late too. One
        that is pinned already stays as it is, with who pinned it first."""
        body = await parse_body(request, pinned_models.PinBody, MAX_BODY, optional=True)
        try:
            made = await pin_trace(pool, trace_id, body.pinned_by)
        except PinRefused as error:
            return problem(PIN_REFUSED, error.message)
        if made is None:
            return problem(TRACE_NOT_FOUND, f"No span and no log record has the trace id {trace_id.hex}.")
        return json_response(render_pinned(made))

    @router.delete(
        _PIN,
        name="unpin_trace",
        summary="Unpin a trace",
        responses=_ONE,
        openapi_extra={PROBLEMS: [PIN_NOT_FOUND.slug]},
    )
    async def unpin_a_trace(trace_id: TraceId, _: Annotated[NoParameters, Query()]) -> Response:
        """From now on it goes with its partitions; what of it had outlived them is gone at once. Answers what was
        pinned."""
        return _answer(await unpin_trace(pool, trace_id), trace_id)

    return router


def render_pinned(row: PinnedTrace) -> dict[str, Any]:
    """A row of `pinned_traces`."""
    return {
        "trace_id": row.trace_id.hex,
        "pinned_at": render_time(row.pinned_at),
        "pinned_by": row.pinned_by,
        "first_time": render_time(row.first_time),
        "last_time": render_time(row.last_time),
        "spans": row.spans,
        "logs": row.logs,
        "bytes": row.bytes,
        "left_out": row.left_out,
        "tenant_id": row.tenant_id,
    }


def _answer(found: PinnedTrace | None, trace_id: UUID) -> Response:
    if found is None:
        return problem(PIN_NOT_FOUND, f"The trace {trace_id.hex} is not pinned.")
    return json_response(render_pinned(found))


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        return Cursor.decode(text, "pinned")
    except ValueError as error:
        raise InvalidParameters(FieldError("cursor", f"The value {error}.")) from None
