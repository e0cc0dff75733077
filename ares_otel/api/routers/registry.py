"""Who lives: registration, heartbeats and status of services."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from ares_otel.api import examples, models
from ares_otel.api.bodies import parse_body
from ares_otel.api.openapi import PROBLEMS
from ares_otel.api.parameters import NoParameters, RegistryId, RegistryParameters, each_once
from ares_otel.api.problems import SERVICE_NOT_FOUND, FieldError, InvalidParameters, problem
from ares_otel.api.rendering import json_response, render_service
from ares_otel.control.registry import InvalidService, Registration, Registry, ServiceId, ServiceNotFound, ServiceRow
from ares_otel.control.status_changes import beat
from ares_otel.query.cursor import Cursor
from ares_otel.query.instant import from_micros

MAX_BODY = 64 * 1024
"""Bytes of a registration or a heartbeat."""
_START = from_micros(0)


def registry_router(registry: Registry) -> APIRouter:
    """The endpoints under `/api/v1/registry`."""
    router = APIRouter(prefix="/api/v1/registry", tags=["registry"], dependencies=[Depends(each_once)])

    def heard(row: ServiceRow) -> dict[str, Any]:
        return {**render_service(row), "heartbeat_interval": beat(registry.interval).total_seconds()}

    @router.post(
        "",
        name="register_service",
        summary="Register a service",
        status_code=201,
        responses={
            200: {**_answer(examples.HEARD, models.Registered), "description": "The registration was renewed"},
            201: {**_answer(examples.HEARD, models.Registered), "description": "The service is new"},
        },
        openapi_extra=_body(models.RegistrationBody, examples.REGISTRATION, required=True),
    )
    async def register(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        """A service is known by its name and instance id: who registers again renews the row, with the answer 200. Also
        a service that was known from its telemetry has one row with what it says here. Metadata is merged."""
        body = await parse_body(request, models.RegistrationBody, MAX_BODY)
        try:
            row, created = await registry.register(_registration(body))
        except InvalidService as error:
            raise _invalid(error) from None
        answer = json_response(heard(row))
        if created:
            answer.status_code = 201
            answer.headers["location"] = f"/api/v1/registry/{row.id}"
        return answer

    @router.get(
        "",
        name="services",
        summary="Services and their status",
        responses={200: _answer(examples.REGISTRY, models.RegistryPage)},
    )
    async def services(query: Annotated[RegistryParameters, Query()]) -> Response:
        """Rows of `service_registry` by id, page by page, each with the signs by which it is known to live."""
        after = None if query.cursor is None else _after(query.cursor)
        rows, last = await registry.services(
            status=query.status,  # type: ignore[arg-type]
            name=query.name,
            limit=query.limit,
            after=after,
        )
        page = None if last is None else Cursor("registry", _START, 0, last).encode()
        return json_response({"services": [render_service(row) for row in rows], "next": page})

    @router.get(
        "/{id}",
        name="service",
        summary="One service",
        responses={200: _answer(examples.REGISTERED)},
        openapi_extra=_NOT_FOUND,
    )
    async def service(id: RegistryId, _: Annotated[NoParameters, Query()]) -> Response:
        """A row of `service_registry`, with the signs by which the service is known to live."""
        try:
            return json_response(render_service(await registry.get(ServiceId(id))))
        except ServiceNotFound:
            return _not_found(id)

    @router.put(
        "/{id}/heartbeat",
        name="heartbeat",
        summary="A service says that it lives",
        responses={200: _answer(examples.HEARD, models.Registered)},
        openapi_extra={**_body(models.HeartbeatBody, examples.HEARTBEAT, required=False), **_NOT_FOUND},
    )
    async def heartbeat(id: RegistryId, request: Request, _: Annotated[NoParameters, Query()]) -> Response:
        """To be sent every `heartbeat_interval` seconds, as the answer says. 404 means: register again."""
        body = await parse_body(request, models.HeartbeatBody, MAX_BODY, optional=True)
        try:
            row = await registry.heartbeat(ServiceId(id), status=body.status or "online", metadata=body.metadata)
        except ServiceNotFound:
            return _not_found(id)
        except InvalidService as error:
            raise _invalid(error) from None
        return json_response(heard(row))

    @router.delete(
        "/{id}",
        name="deregister_service",
        summary="Take a service off the registry",
        status_code=204,
        responses={204: {"description": "It is gone; its history stays"}},
        openapi_extra=_NOT_FOUND,
    )
    async def deregister(id: RegistryId, _: Annotated[NoParameters, Query()]) -> Response:
        """For a service that leaves for good. When it still sends telemetry a minute later, it is known again."""
        try:
            await registry.deregister(ServiceId(id))
        except ServiceNotFound:
            return _not_found(id)
        return Response(status_code=204)

    return router


_NOT_FOUND: dict[str, Any] = {PROBLEMS: [SERVICE_NOT_FOUND.slug]}


def _answer(example: dict[str, Any], model: type[object] = models.RegisteredService) -> dict[str, Any]:
    return {"model": model, "content": {"application/json": {"example": example}}}


def _body(model: type[BaseModel], example: dict[str, Any], *, required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema(), "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def _registration(body: models.RegistrationBody) -> Registration:
    return Registration(
        name=body.name,
        version=body.version or "",
        instance_id=body.instance_id or "",
        port=body.port,
        health_url=body.health_url,
        metadata=body.metadata,
    )


def _after(text: str) -> int:
    try:
        return Cursor.decode(text, "registry").id
    except ValueError as error:
        raise InvalidParameters(FieldError("cursor", f"The value {error}.")) from None


def _not_found(id: int) -> Response:
    return problem(SERVICE_NOT_FOUND, f"No service has the id {id}; register it with POST /api/v1/registry.")


def _invalid(error: InvalidService) -> InvalidParameters:
    return InvalidParameters(FieldError(error.field, error.message))
