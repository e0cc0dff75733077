"""Bodies of requests: read within a bound, as JSON, and held against a model."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from ares_otel.api.problems import FieldError, InvalidParameters

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, at most `limit` bytes. Raises HTTPException (413) for a larger one, before it is read."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body may have {limit} bytes here.")
    return bytes(data)


async def parse_body(request: Request, model: type[Model], limit: int, *, optional: bool = False) -> Model:
    """The body as a model, whatever its content type.

    Args:
        optional: whether an empty body is an empty object.

    Raises:
        HTTPException: 413, the body is larger than `limit` bytes.
        InvalidParameters: it is no JSON object.
        RequestValidationError: a field is wrong; it is named.
    """
    data = await read_body(request, limit)
    try:
        content = orjson.loads(data) if data or not optional else {}
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise InvalidParameters(FieldError("body", f"The body is not JSON: {str(error).partition(':')[0]}.")) from None
    if not isinstance(content, dict):
        raise InvalidParameters(FieldError("body", "The body must be a JSON object."))
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = [{**item, "msg": f"{item['msg'].rstrip('.')}."} for item in error.errors(include_url=False)]
        raise RequestValidationError(found) from None
