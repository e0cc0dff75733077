"""The shapes of what settings' endpoints answer and take, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ares_otel.api.models import Next, Time, Truncated
from ares_otel.control.config.edits import MAX_TEXT, MAX_WHO

Who = Annotated[str, Field(min_length=1, max_length=MAX_WHO)]
Text = Annotated[str | None, Field(max_length=MAX_TEXT)]


class Setting(BaseModel):
    """A row of `service_config`."""

    id: int
    service_name: str
    config_key: str
    config_value: Annotated[Any, Field(description='Any JSON; "********" where it is encrypted and not revealed')]
    description: str
    is_encrypted: bool
    version: int
    last_updated: Time
    updated_by: str
    created_at: Time


class Settings(BaseModel):
    """All settings of a service, by key."""

    service_name: str
    configs: list[Setting]
    truncated: Truncated
    revision: Annotated[
        int, Field(description="Id of the newest change of them in the history, 0 when there never was one")
    ]


class Change(BaseModel):
    """A row of `service_config_history`."""

    id: Annotated[int, Field(description="Number of the change over all settings, in the order of the commits")]
    service_name: str
    config_key: str
    version: int
    action: Literal["create", "change", "delete"]
    old_value: Any
    new_value: Any
    old_is_encrypted: bool
    new_is_encrypted: bool
    changed_by: str
    change_reason: str | None
    changed_at: Time


class History(BaseModel):
    """Changes of a setting, newest first."""

    history: list[Change]
    next: Next


class DocumentSetting(BaseModel):
    """One setting of a document: `config_value`, or `encrypted_value` where it is a secret that was not revealed."""

    config_key: str
    config_value: Any = None
    encrypted_value: dict[str, str] | None = None
    description: str = ""
    is_encrypted: bool = False
    version: int | None = None


class Document(BaseModel):
    """All settings of a service, to be kept, compared and imported."""

    service_name: str
    configs: list[DocumentSetting]


class Difference(BaseModel):
    """What an import does to one setting."""

    config_key: str
    action: Literal["create", "change", "unchanged", "delete"]
    old_value: Any
    new_value: Any
    old_version: int | None
    version: int


class Imported(BaseModel):
    """What an import did, or would do."""

    service_name: str
    dry_run: bool
    mode: Literal["merge", "replace"]
    changes: list[Difference]


class PutBody(BaseModel):
    """A value to set."""

    model_config = ConfigDict(extra="forbid")
    value: Annotated[Any, Field(description="Any JSON")]
    updated_by: Who
    reason: Text = None
    description: Text = None
    is_encrypted: Annotated[bool | None, Field(description="Left out, a secret stays a secret")] = None


class RollbackBody(BaseModel):
    """A version to go back to."""

    model_config = ConfigDict(extra="forbid")
    version: Annotated[int, Field(ge=1)]
    updated_by: Who
    reason: Text = None


class DeleteBody(BaseModel):
    """Who deletes, and why; the query may say it instead."""

    model_config = ConfigDict(extra="forbid")
    updated_by: Annotated[str | None, Field(max_length=MAX_WHO)] = None
    reason: Text = None


class ImportBody(Document):
    """A document with who imports it, and why; the query may say that instead."""

    model_config = ConfigDict(extra="forbid")
    updated_by: Annotated[str | None, Field(max_length=MAX_WHO)] = None
    reason: Text = None
