"""Partitions: what is stored, how large and how old it is, and what goes next."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from ares_otel.api import partition_models
from ares_otel.api.parameters import NoParameters, each_once
from ares_otel.api.rendering import json_response, render_time
from ares_otel.query.partitions import NextAction, PartitionRow, Partitions


def partitions_router(partitions: Partitions) -> APIRouter:
    """The endpoint `/api/v1/partitions`."""
    router = APIRouter(prefix="/api/v1", tags=["partitions"], dependencies=[Depends(each_once)])
    example = {"application/json": {"example": partition_models.EXAMPLE}}

    @router.get(
        "/partitions",
        summary="Partitions, their sizes and ages, and what is next",
        responses={200: {"model": partition_models.PartitionList, "content": example}},
    )
    async def list_partitions(_: Annotated[NoParameters, Query()]) -> Response:
        """All partitions of the telemetry tables, by table and time, and for each job what it is going to do next."""
        found = await partitions.find()
        return json_response(
            {
                "partitions": [render_partition(row) for row in found.partitions],
                "next": [render_action(action) for action in found.next],
                "bytes": found.bytes,
            }
        )

    return router


def render_partition(row: PartitionRow) -> dict[str, Any]:
    """A partition as JSON."""
    return {
        "partition_name": row.partition_name,
        "table_name": row.table_name,
        "signal": row.signal,
        "range_start": render_time(row.range_start),
        "range_end": render_time(row.range_end),
        "state": row.state,
        "bytes": row.bytes,
        "rows_estimate": row.rows_estimate,
        "due_at": render_time(row.due_at),
        "leaving_reason": row.leaving_reason,
        "sealed_at": render_time(row.sealed_at),
        "archived_at": render_time(row.archived_at),
        "archived_to": row.archived_to,
        "archived_rows": row.archived_rows,
        "failures": row.failures,
        "last_error": row.last_error,
    }


def render_action(action: NextAction) -> dict[str, Any]:
    """What a job is going to do, as JSON."""
    return {
        "action": action.action,
        "partition_name": action.partition_name,
        "at": render_time(action.at),
        "reason": action.reason,
    }
