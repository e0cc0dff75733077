"""Errors of the API, all of one shape: RFC 9457 problem details. Every kind there is stands in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from ares_otel.api.jaeger.error_shapes import MOUNTED, jaeger_error_body
from ares_otel.model.signal import SIGNALS
from ares_otel.pipeline.http_protocol import ErrorBody
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow

_OTLP_PATHS = frozenset(signal.http_path for signal in SIGNALS.values())
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
_MAX_ERRORS = 20
_MAX_FIELD = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The `type` member: a name, not an address."""
        return f"urn:ares-otel:problem:{self.slug}"


INVALID_PARAMETERS = Kind("invalid-parameters", 422, "A parameter is wrong")
TRACE_NOT_FOUND = Kind("trace-not-found", 404, "There is no such trace")
REJECTED_NOT_FOUND = Kind("rejected-not-found", 404, "There is no such rejected item")
PIN_NOT_FOUND = Kind("pin-not-found", 404, "The trace is not pinned")
PIN_REFUSED = Kind("pin-refused", 409, "No more can be pinned")
SERVICE_NOT_FOUND = Kind("service-not-found", 404, "There is no such service")
PATH_NOT_FOUND = Kind("path-not-found", 404, "There is nothing at this path")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "The path does not take this method")
URI_TOO_LONG = Kind("uri-too-long", 414, "The address is too long")
INTERNAL_ERROR = Kind("internal-error", 500, "Ares made a mistake")
DATABASE_UNAVAILABLE = Kind("database-unavailable", 503, "The database is away")
QUERY_TOO_SLOW = Kind("query-too-slow", 503, "The query took too long")
NOT_READY = Kind("not-ready", 503, "Ares is not ready")
CONTENT_TOO_LARGE = Kind("content-too-large", 413, "The body is too large")
SETTING_NOT_FOUND = Kind("setting-not-found", 404, "There is no such setting")
VERSION_NOT_FOUND = Kind("version-not-found", 404, "The setting never had this version")
VERSION_WAS_DELETION = Kind("version-was-deletion", 409, "This version is the setting's deletion")
PRECONDITION_FAILED = Kind("precondition-failed", 412, "Somebody was faster")
ENCRYPTION_KEY_MISSING = Kind("encryption-key-missing", 409, "The key of an encrypted setting is missing")
ENCRYPTION_KEY_WRONG = Kind("encryption-key-wrong", 409, "An encrypted setting does not open")
CONFIG_BUSY = Kind("config-busy", 503, "The configuration is being edited")
TOO_MANY_SERIES = Kind("too-many-series", 422, "The answer would be too large")
TOO_MANY_STREAMS = Kind("too-many-streams", 503, "Too many streams are open")
KINDS = (
    INVALID_PARAMETERS,
    TRACE_NOT_FOUND,
    REJECTED_NOT_FOUND,
    PIN_NOT_FOUND,
    PIN_REFUSED,
    SERVICE_NOT_FOUND,
    PATH_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    URI_TOO_LONG,
    INTERNAL_ERROR,
    DATABASE_UNAVAILABLE,
    QUERY_TOO_SLOW,
    NOT_READY,
    CONTENT_TOO_LARGE,
    SETTING_NOT_FOUND,
    VERSION_NOT_FOUND,
    VERSION_WAS_DELETION,
    PRECONDITION_FAILED,
    ENCRYPTION_KEY_MISSING,
    ENCRYPTION_KEY_WRONG,
    CONFIG_BUSY,
    TOO_MANY_SERIES,
    TOO_MANY_STREAMS,
)


KINDS_BY_STATUS = {CONTENT_TOO_LARGE.status: CONTENT_TOO_LARGE}
"""Kinds that an HTTPException of that status stands for."""


INTERNAL_SENTENCE = "The request could not be answered; Ares's log has the reason."


def http_error(status: int) -> Kind:
    """The kind of a status that says by itself what is wrong."""
    return Kind("http-error", status, HTTPStatus(status).phrase)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong parameter."""

    field: str
    message: str


class InvalidParameters(Exception):
    """Parameters that are wrong; raised by endpoints for what one parameter alone does not show."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(*errors)
        self.errors = errors


def problem(
    kind: Kind, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """A problem as a response; `errors` is always there, empty where the input is not what is wrong."""
    return Response(_body(kind, detail, errors), kind.status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def problem_body(scope: Scope | None, status: int, message: str) -> ErrorBody:
    """The body of an error that the HTTP door gives before, or instead of, the application."""
    jaeger = None if scope is None else jaeger_error_body(scope["path"], status, message, MOUNTED)
    if jaeger is not None:
        return ErrorBody("application/json", jaeger)
    return ErrorBody(MEDIA_TYPE, _body(http_error(status), message, ()))


def _body(kind: Kind, detail: str, errors: Sequence[FieldError]) -> bytes:
    return orjson.dumps(
        {
            "type": kind.type,
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
            "errors": [{"field": error.field, "message": error.message} for error in errors],
        }
    )


def internal_error() -> Response:
    """The answer to an exception that nobody expected: it says nothing of what happened inside."""
    return problem(INTERNAL_ERROR, INTERNAL_SENTENCE)


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem."""

    @app.exception_handler(InvalidParameters)
    async def _invalid(_: Request, error: InvalidParameters) -> Response:
        return invalid_parameters(error.errors)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> Response:
        return invalid_parameters([_field_error(item) for item in error.errors()[: _MAX_ERRORS + 1]])

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.NOT_FOUND:
            if request.url.path in _OTLP_PATHS:
                return problem(PATH_NOT_FOUND, "This is the API; OTLP/HTTP is on another port, 4318 by default.")
            return problem(PATH_NOT_FOUND, "Look at /swagger/index.html for the paths there are.")
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allow = sorted({*headers.pop("Allow", "").replace(" ", "").split(",")} - {"", "HEAD"})
            if "GET" in allow:
                allow.append("HEAD")  # answered like GET, without the body
            return problem(METHOD_NOT_ALLOWED, f"Use {' or '.join(allow)}.", headers={"Allow": ", ".join(allow)})
        kind = KINDS_BY_STATUS.get(error.status_code) or http_error(error.status_code)
        return problem(kind, str(error.detail), headers=headers)

    @app.exception_handler(DatabaseUnavailable)
    async def _away(_: Request, error: DatabaseUnavailable) -> Response:
        return problem(DATABASE_UNAVAILABLE, error.message, headers={"Retry-After": str(RETRY_SECONDS)})

    @app.exception_handler(QueryTooSlow)
    async def _slow(_: Request, error: QueryTooSlow) -> Response:
        return problem(QUERY_TOO_SLOW, error.message)


def invalid_parameters(errors: Sequence[FieldError]) -> Response:
    """The answer to parameters, or fields of a body, that are wrong."""
    shown = errors[:_MAX_ERRORS]
    detail = " ".join(f"{error.field}: {error.message}" for error in shown[:3])
    return problem(INVALID_PARAMETERS, detail, errors=shown)


def _field_error(item: Mapping[str, object]) -> FieldError:
    location = item["loc"]
    assert isinstance(location, tuple)
    name = str(location[-1]).replace("\0", "\N{REPLACEMENT CHARACTER}")
    field = name if len(name) <= _MAX_FIELD else name[: _MAX_FIELD - 1] + "…"
    if item["type"] == "extra_forbidden":
        return FieldError(field, "This endpoint has no such parameter; leave it out or correct its name.")
    return FieldError(field, str(item["msg"]))
