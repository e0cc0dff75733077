"""The OpenAPI document: what FastAPI finds, with the errors in the shape that they have."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ares_otel.api.models import FieldProblem, Problem
from ares_otel.api.problems import (
    CONFIG_BUSY,
    CONTENT_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    ENCRYPTION_KEY_MISSING,
    ENCRYPTION_KEY_WRONG,
    INTERNAL_ERROR,
    INVALID_PARAMETERS,
    KINDS,
    MEDIA_TYPE,
    NOT_READY,
    PIN_NOT_FOUND,
    PIN_REFUSED,
    PRECONDITION_FAILED,
    QUERY_TOO_SLOW,
    REJECTED_NOT_FOUND,
    SETTING_NOT_FOUND,
    TOO_MANY_STREAMS,
    TRACE_NOT_FOUND,
    VERSION_NOT_FOUND,
    VERSION_WAS_DELETION,
    Kind,
)
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow

PROBLEMS = "x-problems"
"""A route's `openapi_extra` may name here the slugs of the kinds of problems that only it has."""
_PREFIX = "/api/v1/"
_KINDS = {kind.slug: kind for kind in KINDS}
_DETAILS = {
    INVALID_PARAMETERS: "limit: The value must be a whole number from 1 to 1000.",
    TRACE_NOT_FOUND: "No span and no log record has the trace id 4bf92f3577b34da6a3ce929d0e0e4736.",
    REJECTED_NOT_FOUND: "Nothing that was rejected has the id 7: it was dropped, or stored in the meantime.",
    PIN_NOT_FOUND: "The trace 4bf92f3577b34da6a3ce929d0e0e4736 is not pinned.",
    PIN_REFUSED: "1000 traces are pinned, and no more than 1000 may be; unpin some, or raise "
    "retention.pinned.max_traces of ares-api.",
    INTERNAL_ERROR: "The request could not be answered; Ares's log has the reason.",
    DATABASE_UNAVAILABLE: DatabaseUnavailable().message,
    QUERY_TOO_SLOW: QueryTooSlow().message,
    NOT_READY: "The database does not answer.",
    CONTENT_TOO_LARGE: "The body may have 1048576 bytes.",
    SETTING_NOT_FOUND: "orders has no setting retry.limit.",
    VERSION_NOT_FOUND: "orders/retry.limit never had a version 9; its history lists those it had.",
    VERSION_WAS_DELETION: "This version is the setting's deletion, which has no value to go back to.",
    PRECONDITION_FAILED: "Somebody was faster: it has version 4 now. Read it again and decide anew.",
    ENCRYPTION_KEY_MISSING: "The value of orders/payment.token is encrypted with the key 1f2e3d4c, which is not set.",
    ENCRYPTION_KEY_WRONG: "The value of orders/payment.token does not open with the key 1f2e3d4c.",
    CONFIG_BUSY: "Another session holds an unfinished edit of the configuration; try again when it is committed.",
    TOO_MANY_STREAMS: "This Ares serves as many streams as it can; close some, or ask another process.",
}


def build_document(app: FastAPI, description: str) -> dict[str, Any]:
    """The document of the application's routes."""
    document = get_openapi(title=app.title, version=app.version, description=description, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (Problem, FieldProblem):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own shape of a 422, which nobody gets here
        schemas.pop(name, None)
    for path, item in document["paths"].items():
        for operation in item.values():
            own = [_KINDS[slug] for slug in operation.pop(PROBLEMS, ())]
            operation["responses"].update(_error_responses(_kinds(path) + own))
    return document


def _kinds(path: str) -> list[Kind]:
    kinds = [INTERNAL_ERROR]
    if path.startswith(_PREFIX):
        kinds += [INVALID_PARAMETERS, DATABASE_UNAVAILABLE, QUERY_TOO_SLOW]
    if path.startswith(f"{_PREFIX}observability/trace/"):
        kinds.append(TRACE_NOT_FOUND)
    if path == "/readyz":
        kinds.append(NOT_READY)
    return kinds


def _error_responses(kinds: list[Kind]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for kind in sorted(kinds, key=lambda kind: kind.status):
        wrong = [{"field": "limit", "message": "The value must be a whole number from 1 to 1000."}]
        value = {
            "type": kind.type,
            "title": kind.title,
            "status": kind.status,
            "detail": _DETAILS.get(kind, f"{kind.title}."),
            "errors": wrong if kind is INVALID_PARAMETERS else [],
        }
        response = responses.setdefault(
            str(kind.status),
            {
                "description": kind.title,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        response["content"][MEDIA_TYPE]["examples"][kind.slug] = {"summary": kind.title, "value": value}
        titles = [example["summary"] for example in response["content"][MEDIA_TYPE]["examples"].values()]
        response["description"] = "; ".join(titles)
    return responses
