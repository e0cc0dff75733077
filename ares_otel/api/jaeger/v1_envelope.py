"""The envelope of every answer of Jaeger's HTTP API of version 1, errors included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
RETRY_SECONDS = 1


class BadParameter(ValueError):
    """A parameter that is wrong: answered 400."""

    def __init__(self, name: str, sentence: str) -> None:
        """`sentence` has no subject and no full stop; it is put after the parameter's name."""
        super().__init__(f"The parameter {name} {sentence}.")


def envelope(
    data: Any,
    *,
    total: int | None = None,
    limit: int = 0,
    errors: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What stands around `data`. `total` is its length where it is a list; nothing is paged here, so `offset` is 0."""
    if total is None:
        total = len(data) if isinstance(data, list) else 0
    return {"data": data, "total": total, "limit": limit, "offset": 0, "errors": list(errors) if errors else None}


def answer(request: Request, content: Any) -> Response:
    """The content as JSON, as a person can read it with `prettyPrint`."""
    return Response(dumps(request, content), media_type=JSON)


def dumps(request: Request, content: Any) -> bytes:
    """JSON of the content. `prettyPrint` with any value but `false` indents it, as in Jaeger."""
    pretty = request.query_params.get("prettyPrint", "")
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 if pretty not in ("", "false") else 0)


def error(code: int, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error; the status is in the envelope, too."""
    return Response(error_body(code, message), code, media_type=JSON, headers=dict(headers or {}))


def error_body(code: int, message: str) -> bytes:
    """The envelope of an error."""
    return orjson.dumps(envelope(None, errors=[{"code": code, "msg": message}]))
