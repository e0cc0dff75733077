"""Settings of services: read, set, delete, history, rollback, documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from pydantic import BaseModel

from ares_otel.api import config_examples as examples
from ares_otel.api import config_models as models
from ares_otel.api import problems
from ares_otel.api.config_parameters import (
    MAX_IMPORT,
    AuthorParameters,
    Fields,
    HistoryParameters,
    ImportParameters,
    KeyName,
    RevealParameters,
    ServiceName,
    condition,
    etags,
    read_json,
)
from ares_otel.api.config_rendering import render_change, render_setting
from ares_otel.api.openapi import PROBLEMS
from ares_otel.api.parameters import NoParameters, each_once
from ares_otel.api.problems import FieldError, InvalidParameters, Kind, problem
from ares_otel.api.rendering import json_response
from ares_otel.control.config.errors import (
    ConfigBusy,
    InvalidSetting,
    NoSuchSetting,
    NoSuchVersion,
    PreconditionFailed,
    VersionWasDeletion,
)
from ares_otel.control.config.service import ConfigService, Edited
from ares_otel.control.config.transfer import Mode
from ares_otel.control.crypto import KeyMissing, KeyWrong
from ares_otel.query.cursor import Cursor
from ares_otel.query.instant import from_micros

PREFIX = "/api/v1/config"
_START = from_micros(0)
_KINDS: Mapping[type[Exception], Kind] = {
    NoSuchSetting: problems.SETTING_NOT_FOUND,
    NoSuchVersion: problems.VERSION_NOT_FOUND,
    VersionWasDeletion: problems.VERSION_WAS_DELETION,
    PreconditionFailed: problems.PRECONDITION_FAILED,
    KeyMissing: problems.ENCRYPTION_KEY_MISSING,
    KeyWrong: problems.ENCRYPTION_KEY_WRONG,
    ConfigBusy: problems.CONFIG_BUSY,
}


def config_router(service: ConfigService) -> APIRouter:
    """The endpoints under `/api/v1/config`, without the stream of changes. They need `ConfigPaths` around the
    application, and `install`."""
    router = APIRouter(prefix=PREFIX, tags=["config"], dependencies=[Depends(each_once)])

    @router.get(
        "/{service_name}",
        name="settings",
        summary="All settings of a service",
        responses={200: _answer(models.Settings, examples.SETTINGS)},
    )
    async def settings(service_name: ServiceName, query: Annotated[RevealParameters, Query()]) -> Response:
        """Rows of `service_config`, by key; none for a service that has no settings. What no key opens stays masked,
        with `reveal=true` too."""
        found = await service.settings(service_name, revealed_by=query.asker)
        return json_response(
            {
                "service_name": service_name,
                "configs": [render_setting(row) for row in found.rows],
                "truncated": found.truncated,
                "revision": found.revision,
            }
        )

    @router.get(
        "/{service_name}/export",
        name="export_settings",
        summary="All settings of a service as a document",
        responses={200: _answer(models.Document, examples.DOCUMENT)},
    )
    async def export(service_name: ServiceName, query: Annotated[RevealParameters, Query()]) -> Response:
        """The same settings give the same document, byte for byte. Encrypted values stay encrypted, with the id of
        their key, unless `reveal=true`."""
        return json_response(await service.export(service_name, revealed_by=query.asker))

    @router.post(
        "/{service_name}/import",
        name="import_settings",
        summary="Set all settings of a document",
        responses={200: _answer(models.Imported, examples.IMPORTED)},
        openapi_extra=_extra(
            problems.CONTENT_TOO_LARGE,
            problems.ENCRYPTION_KEY_MISSING,
            problems.ENCRYPTION_KEY_WRONG,
            problems.CONFIG_BUSY,
            body=(models.ImportBody, examples.IMPORT_BODY),
        ),
    )
    async def import_(
        service_name: ServiceName, request: Request, query: Annotated[ImportParameters, Query()]
    ) -> Response:
        """All of it or nothing, in one transaction; the answer is the difference. What export gives can be sent as it
        is, with `updated_by` in the query."""
        fields = Fields(await read_json(request, MAX_IMPORT))
        author = fields.author(query)
        document = fields.rest("service_name", "configs")
        fields.done()
        assert author is not None
        mode: Mode = "replace" if query.mode == "replace" else "merge"
        changes = await service.import_(service_name, document, author, mode=mode, dry_run=query.dry_run)
        return json_response({"service_name": service_name, "dry_run": query.dry_run, "mode": mode, "changes": changes})

    @router.get(
        "/{service_name}/{key}/history",
        name="setting_history",
        summary="Every version of a setting, newest first",
        responses={200: _answer(models.History, examples.HISTORY)},
        openapi_extra=_extra(problems.SETTING_NOT_FOUND),
    )
    async def history(
        service_name: ServiceName, key: KeyName, query: Annotated[HistoryParameters, Query()]
    ) -> Response:
        """Rows of `service_config_history`, page by page; of a deleted setting too."""
        page = await service.history(
            service_name,
            key,
            limit=query.limit,
            before=None if query.cursor is None else _before(query.cursor),
            revealed_by=query.asker,
        )
        after = None if page.next is None else Cursor("config", _START, 0, page.next).encode()
        return json_response({"history": [render_change(row) for row in page.rows], "next": after})

    @router.post(
        "/{service_name}/{key}/rollback",
        name="roll_back_setting",
        summary="Go back to the value of an earlier version",
        responses={200: _answer(models.Setting, examples.SETTING, "The setting as it is now")},
        openapi_extra=_extra(
            problems.SETTING_NOT_FOUND,
            problems.VERSION_NOT_FOUND,
            problems.VERSION_WAS_DELETION,
            problems.PRECONDITION_FAILED,
            problems.CONTENT_TOO_LARGE,
            problems.ENCRYPTION_KEY_MISSING,
            problems.ENCRYPTION_KEY_WRONG,
            problems.CONFIG_BUSY,
            body=(models.RollbackBody, examples.ROLLBACK_BODY),
        ),
    )
    async def rollback(
        service_name: ServiceName, key: KeyName, request: Request, _: Annotated[NoParameters, Query()]
    ) -> Response:
        """The old value becomes a new version. A deleted setting comes back. `If-Match` works as with PUT."""
        fields = Fields(await read_json(request))
        version = fields.take("version", int, "a version of the setting, a whole number from 1", required=True)
        author = fields.author()
        fields.done()
        assert author is not None
        if not 1 <= version < 2**63:
            raise InvalidParameters(FieldError("version", "The value must be a version of the setting, 1 or more."))
        edited = await service.rollback(service_name, key, version, author, condition=condition(request))
        return _setting_response(edited, status=200)

    @router.get(
        "/{service_name}/{key}",
        name="setting",
        summary="One setting",
        responses={
            200: _answer(models.Setting, examples.SETTING),
            304: {"description": "`If-None-Match` names the present version"},
        },
        openapi_extra=_extra(
            problems.SETTING_NOT_FOUND, problems.ENCRYPTION_KEY_MISSING, problems.ENCRYPTION_KEY_WRONG
        ),
    )
    async def setting(
        service_name: ServiceName, key: KeyName, request: Request, query: Annotated[RevealParameters, Query()]
    ) -> Response:
        """A row of `service_config`. `ETag` is its version in quotes; `If-None-Match` with it is answered 304, but not
        with `reveal=true`."""
        found = await service.get(service_name, key, revealed_by=query.asker)
        known = request.headers.get("if-none-match")
        if (
            known is not None
            and not query.reveal
            and (known.strip() == "*" or found.version in etags(known, weak=True))
        ):
            return Response(status_code=304, headers={"ETag": f'"{found.version}"'})
        answer = json_response(render_setting(found))
        answer.headers["ETag"] = f'"{found.version}"'
        return answer

    @router.put(
        "/{service_name}/{key}",
        name="set_setting",
        summary="Set a setting",
        responses={
            200: _answer(models.Setting, examples.SETTING, "Changed, or it had this value already"),
            201: _answer(models.Setting, {**examples.SETTING, "version": 1}, "The setting is new"),
        },
        openapi_extra=_extra(
            problems.PRECONDITION_FAILED,
            problems.CONTENT_TOO_LARGE,
            problems.ENCRYPTION_KEY_MISSING,
            problems.CONFIG_BUSY,
            body=(models.PutBody, examples.PUT_BODY),
        ),
    )
    async def put(
        service_name: ServiceName, key: KeyName, request: Request, _: Annotated[NoParameters, Query()]
    ) -> Response:
        """The value that it has already makes no new version. `If-Match` with the version that was read is answered 412
        when somebody was faster; `If-None-Match: *` creates, and does not change. A secret stays a secret unless
        `is_encrypted` is false."""
        fields = Fields(await read_json(request))
        value = fields.take_value()
        author = fields.author()
        description = fields.take("description", str, "text")
        encrypted = fields.take("is_encrypted", bool, "true or false")
        fields.done()
        assert author is not None
        edited = await service.put(
            service_name,
            key,
            value,
            author,
            description=description,
            is_encrypted=encrypted,
            condition=condition(request),
        )
        return _setting_response(edited, status=201 if edited.outcome == "created" else 200)

    @router.delete(
        "/{service_name}/{key}",
        name="delete_setting",
        summary="Delete a setting",
        responses={200: _answer(models.Change, examples.DELETION, "The row of the history that says so")},
        openapi_extra=_extra(
            problems.SETTING_NOT_FOUND,
            problems.PRECONDITION_FAILED,
            problems.CONTENT_TOO_LARGE,
            problems.CONFIG_BUSY,
            body=(models.DeleteBody, examples.DELETE_BODY),
            required=False,
        ),
    )
    async def delete(
        service_name: ServiceName, key: KeyName, request: Request, query: Annotated[AuthorParameters, Query()]
    ) -> Response:
        """The history stays, and a rollback brings the setting back; set again, it goes on with its versions.
        `If-Match` works as with PUT. Deleting again is 404."""
        fields = Fields(await read_json(request, optional=True))
        author = fields.author(query)
        fields.done()
        assert author is not None
        change = await service.delete(service_name, key, author, condition=condition(request))
        return json_response(render_change(change))

    return router


def install(app: FastAPI) -> None:
    """Makes the configuration service's errors problems."""

    @app.exception_handler(InvalidSetting)
    async def _invalid(_: Request, error: InvalidSetting) -> Response:
        return problems.invalid_parameters([FieldError(error.field[:100], error.message)])

    async def _other(_: Request, error: Exception) -> Response:
        kind = next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)
        headers = {"Retry-After": str(problems.RETRY_SECONDS)} if kind.status == 503 else {}
        return problem(kind, str(error), headers=headers)

    for error in _KINDS:
        app.add_exception_handler(error, _other)


def _setting_response(edited: Edited, *, status: int) -> Response:
    answer = json_response(render_setting(edited.setting))
    answer.status_code = status
    answer.headers["ETag"] = f'"{edited.setting.version}"'
    return answer


def _before(text: str) -> int:
    try:
        return Cursor.decode(text, "config").id
    except ValueError as error:
        raise InvalidParameters(FieldError("cursor", f"The value {error}.")) from None


def _answer(model: type[BaseModel], example: dict[str, Any], description: str = "OK") -> dict[str, Any]:
    return {"model": model, "description": description, "content": {"application/json": {"example": example}}}


def _extra(
    *kinds: Kind, body: tuple[type[BaseModel], dict[str, Any]] | None = None, required: bool = True
) -> dict[str, Any]:
    extra: dict[str, Any] = {PROBLEMS: [kind.slug for kind in kinds]}
    if body is not None:
        schema = body[0].model_json_schema()
        if "$defs" in schema:  # a reference into the schema itself would dangle in the document
            schema = _inlined(schema, schema.pop("$defs"))
        content = {"application/json": {"schema": schema, "example": body[1]}}
        extra["requestBody"] = {"required": required, "content": content}
    return extra


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return _inlined(definitions[node["$ref"].rpartition("/")[2]], definitions)
        return {name: _inlined(value, definitions) for name, value in node.items()}
    return [_inlined(item, definitions) for item in node] if isinstance(node, list) else node
