"""What the endpoints of settings accept: names in the path, conditions in headers, parameters, bodies."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import Path, Request
from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ares_otel.api.bodies import read_body
from ares_otel.api.config_paths import OF_SERVICE
from ares_otel.api.parameters import CursorText, Limit, NoParameters
from ares_otel.api.problems import FieldError, InvalidParameters
from ares_otel.control.config.edits import MAX_KEY, MAX_SERVICE, MAX_TEXT, MAX_WHO, Author, Condition, check_names
from ares_otel.control.config.errors import InvalidSetting
from ares_otel.control.config.transfer import MODES
from ares_otel.control.config.values import BadJson, parse_json

MAX_BODY = 1024 * 1024
MAX_IMPORT = 32 * 1024 * 1024
_LARGE = 64 * 1024
MAX_CHANGE = 2**63 - 1


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("parameter", "{message}", {"message": message})


def _decoded(text: Any) -> str:
    try:
        return unquote_to_bytes(str(text).encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise _wrong("The name is not UTF-8, percent-encoded.") from None


def _service(text: Any) -> str:
    return _checked(_decoded(text), "x")[0]


def _key(text: Any) -> str:
    if text in OF_SERVICE:
        raise _wrong(
            f"A key with the name of an endpoint is written with a letter encoded: %{ord(text[0]):x}{text[1:]}."
        )
    return _checked("x", _decoded(text))[1]


def _checked(service: str, key: str) -> tuple[str, str]:
    try:
        check_names(service, key)
    except InvalidSetting as error:
        raise _wrong(error.message) from None
    return service, key


def _flag(value: Any) -> bool:
    if value not in ("true", "false", True, False):
        raise _wrong("The value must be true or false.")
    return value in ("true", True)


def _mode(value: Any) -> str:
    if value not in MODES:
        raise _wrong(f"The value must be {' or '.join(MODES)}.")
    return str(value)


def _change_id(value: Any) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", str(value), re.ASCII) or int(value) > MAX_CHANGE:
        raise _wrong("The value must be the id of an event of this stream.")
    return int(value)


ServiceName = Annotated[
    str,
    PlainValidator(_service),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_SERVICE, "examples": ["orders"]}),
    Path(description="Name of the service the setting belongs to; `ares-api` is Ares itself. A slash is written %2F."),
]
KeyName = Annotated[
    str,
    PlainValidator(_key),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_KEY, "examples": ["retry.limit"]}),
    Path(
        description="Name of the setting; dots and slashes are part of it. A key that ends in the name of an endpoint "
        "has that slash encoded (`a%2Fhistory`)."
    ),
]
Flag = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean", "default": False})]
_WHO = {"type": "string", "minLength": 1, "maxLength": MAX_WHO, "examples": ["alice"]}
Who = Annotated[str | None, WithJsonSchema(_WHO)]
Why = Annotated[str | None, WithJsonSchema({"type": "string", "maxLength": MAX_TEXT, "examples": ["too slow"]})]

_REVEAL_TEXT = "`true` shows encrypted values in plain text; it is recorded who asked, and `revealed_by` is needed."
_WHO_TEXT = "Who does it, for the history; here or in the body."
_WHY_TEXT = "Why, for the history; here or in the body."


class RevealParameters(NoParameters):
    """Query of what shows values."""

    reveal: Flag = Field(False, description=_REVEAL_TEXT)
    revealed_by: Who = Field(None, description="Who asks for plain text, with `reveal=true`.")

    @property
    def asker(self) -> str | None:
        """Who asks for plain text; None when nobody does. Raises InvalidParameters where one is given without the
        other."""
        if self.reveal and self.revealed_by is None:
            raise InvalidParameters(FieldError("revealed_by", "Say who asks: secrets are not shown to nobody."))
        if self.revealed_by is not None and not self.reveal:
            raise InvalidParameters(FieldError("revealed_by", "Give it with reveal=true only."))
        return self.revealed_by


class HistoryParameters(RevealParameters):
    """Query of a history."""

    limit: Limit = Field(100, description="Rows a page, 1 to 1000. A page of very large rows ends earlier.")
    cursor: CursorText = Field(None, description="`next` of the page before.")


class AuthorParameters(NoParameters):
    """Query of edits that need no body."""

    updated_by: Who = Field(None, description=_WHO_TEXT)
    reason: Why = Field(None, description=_WHY_TEXT)


class ImportParameters(AuthorParameters):
    """Query of an import."""

    dry_run: Flag = Field(False, description="`true` only says what the import would do.")
    mode: Annotated[str, PlainValidator(_mode), WithJsonSchema({"type": "string", "enum": list(MODES)})] = Field(
        "merge", description="`merge` leaves settings alone that the document does not have; `replace` deletes them."
    )


class WatchParameters(NoParameters):
    """Query of a stream of changes."""

    model_config = ConfigDict(extra="forbid")
    last_event_id: Annotated[
        int | None, PlainValidator(_change_id), WithJsonSchema({"type": "integer", "minimum": 0})
    ] = Field(None, description="Goes on behind this event; the header Last-Event-ID does the same.")


async def read_json(request: Request, limit: int = MAX_BODY, *, optional: bool = False) -> dict[str, Any]:
    """The body as a JSON object, whatever its content type says.

    Args:
        optional: whether no body at all is an empty object.

    Raises:
        HTTPException: 413, it has more than `limit` bytes.
        InvalidParameters: it is no JSON object that can be stored as it is.
    """
    data = await read_body(request, limit)
    if optional and not data.strip():
        return {}
    try:
        # A large document takes longer than the event loop may stand still.
        body = parse_json(data) if len(data) < _LARGE else await asyncio.to_thread(parse_json, data)
    except BadJson as error:
        raise InvalidParameters(FieldError(error.field[:100] or "body", str(error))) from None
    if not isinstance(body, dict):
        raise InvalidParameters(FieldError("body", "The body must be a JSON object."))
    return body


class Fields:
    """The fields of a body, each taken once; what is left at the end is unknown."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._left = dict(body)
        self._errors: list[FieldError] = []

    def take(self, name: str, kind: type[Any], expects: str, *, required: bool = False) -> Any:
        """The value of a field, or None. Null is as good as absent."""
        value = self._left.pop(name, None)
        if value is None:
            if required:
                self._errors.append(FieldError(name, f"The field must be given: {expects}."))
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self._errors.append(FieldError(name, f"The value must be {expects}."))
            return None
        return value

    def take_value(self) -> Any:
        """The field `value`, which may be any JSON, null too, and must be there."""
        if "value" not in self._left:
            self._errors.append(FieldError("value", "The field must be given: any JSON."))
        return self._left.pop("value", None)

    def author(self, query: AuthorParameters | None = None) -> Author | None:
        """Who and why; from the query where it has them. None when that is an error, which `done` tells."""
        who = self.take("updated_by", str, f"a name of 1 to {MAX_WHO} characters")
        why = self.take("reason", str, "text")
        if query is not None:
            for name, here, there in (("updated_by", query.updated_by, who), ("reason", query.reason, why)):
                if here is not None and there is not None and here != there:
                    self._errors.append(FieldError(name, "The query and the body say different things; give it once."))
            who, why = query.updated_by or who, query.reason or why
        if who is None:
            if not any(error.field == "updated_by" for error in self._errors):
                self._errors.append(FieldError("updated_by", "The field must be given: who does it."))
            return None
        try:
            return Author(who, why)
        except InvalidSetting as error:
            self._errors.append(FieldError(error.field, error.message))
            return None

    def rest(self, *names: str) -> dict[str, Any]:
        """The fields of these names that are there, as they are."""
        return {name: self._left.pop(name) for name in names if name in self._left}

    def done(self) -> None:
        """Raises InvalidParameters for everything that was wrong, and for what is left."""
        unknown = [FieldError(name[:100], "The body has no such field here; leave it out.") for name in self._left]
        if self._errors or unknown:
            raise InvalidParameters(*self._errors, *unknown)


def condition(request: Request) -> Condition:
    """What If-Match and If-None-Match demand of an edit."""
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    exists: bool | None = None
    versions: frozenset[int] | None = None
    if match is not None:
        if match.strip() == "*":
            exists = True
        else:
            versions = frozenset(etags(match, weak=False))
    if none_match is not None:
        if none_match.strip() != "*":
            raise InvalidParameters(FieldError("If-None-Match", "Only * is of use here: create, but do not change."))
        exists = False
    return Condition(versions, exists)


def etags(header: str, *, weak: bool) -> list[int]:
    """The versions that a list of entity tags names; a bare number counts, other tags are of nobody here.

    Args:
        weak: whether weak tags count, as in If-None-Match (RFC 9110, 13.1.2).
    """
    found = []
    for part in header.split(",")[:100]:
        match = re.fullmatch(r"(W/)?(\"?)([0-9]{1,18})\2", part.strip(), re.ASCII)
        if match and (weak or not match[1]):
            found.append(int(match[3]))
    return found
