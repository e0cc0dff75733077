"""What the database refused to store."""

from __future__ import annotations

import asyncio
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Query, Response

from ares_otel.api import examples, models
from ares_otel.api.answers import ok
from ares_otel.api.openapi import PROBLEMS
from ares_otel.api.parameters import NoParameters, RejectedId, RejectedParameters, each_once
from ares_otel.api.problems import REJECTED_NOT_FOUND, FieldError, InvalidParameters, problem
from ares_otel.api.rendering import json_response, render_rejected, render_rejected_item
from ares_otel.query.cursor import Cursor
from ares_otel.query.rejected import RejectedFilter, RejectedItem, find_rejected, find_rejected_item


def rejected_router(pool: asyncpg.Pool) -> APIRouter:
    """The endpoints under `/api/v1/observability/rejected`."""
    router = APIRouter(
        prefix="/api/v1/observability/rejected", tags=["observability"], dependencies=[Depends(each_once)]
    )

    @router.get(
        "",
        name="rejected",
        summary="What the database refused to store, newest first",
        responses=ok(models.RejectedPage, examples.REJECTED),
    )
    async def rejected(query: Annotated[RejectedParameters, Query()]) -> Response:
        """Rows of `ingest_rejected` for which all filters hold, page by page, without their payloads. The
        command `ares-otel rejected` stores them or drops them."""
        wanted = RejectedFilter(query.service, query.signal)
        page = await find_rejected(pool, wanted, limit=query.limit, after=_cursor(query.cursor))
        return json_response(
            {"rejected": [render_rejected(row) for row in page.rows], "next": page.next and page.next.encode()}
        )

    @router.get(
        "/{id}",
        name="rejected_item",
        summary="One of them, with its payload",
        responses=ok(models.RejectedItem, examples.REJECTED_ITEM),
        openapi_extra={PROBLEMS: [REJECTED_NOT_FOUND.slug]},
    )
    async def rejected_item(id: RejectedId, _: Annotated[NoParameters, Query()]) -> Response:
        """A row of `ingest_rejected`. The payload comes twice: as it is, in base64, and as OTLP JSON."""
        found = await find_rejected_item(pool, id)
        if found is None:
            return problem(
                REJECTED_NOT_FOUND,
                f"Nothing that was rejected has the id {id}: it was dropped, or stored in the meantime.",
            )
        # A large payload takes longer than the event loop may stand still.
        return await asyncio.to_thread(_item_response, found)

    return router


def _item_response(item: RejectedItem) -> Response:
    return json_response(render_rejected_item(item))


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        return Cursor.decode(text, "rejected")
    except ValueError as error:
        raise InvalidParameters(FieldError("cursor", f"The value {error}.")) from None
