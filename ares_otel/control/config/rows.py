"""Settings and their history, as the configuration service gives them. JSON columns are JSON text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ares_otel.query.rows import Json


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of `service_config`; `config_value` is the mask where the setting is encrypted and not revealed."""

    id: int
    service_name: str
    config_key: str
    config_value: Json
    description: str
    is_encrypted: bool
    last_updated: datetime
    updated_by: str
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `service_config_history`. Values are None where there was none: `old_value` when the key was new,
    `new_value` when it was deleted; the mask where they are encrypted and not revealed."""

    id: int
    service_name: str
    config_key: str
    version: int
    old_value: Json | None
    new_value: Json | None
    old_is_encrypted: bool
    new_is_encrypted: bool
    changed_by: str
    change_reason: str | None
    changed_at: datetime

    @property
    def action(self) -> str:
        """`create`, `change` or `delete`."""
        return "delete" if self.new_value is None else "create" if self.old_value is None else "change"


_SETTING = tuple(Setting.__dataclass_fields__)
_CHANGE = tuple(Change.__dataclass_fields__)


def settings_of(records: Iterable[Any]) -> list[Setting]:
    """Records of statements as settings; other columns are left out."""
    return [Setting(*(record[name] for name in _SETTING)) for record in records]


def changes_of(records: Iterable[Any]) -> list[Change]:
    """Records of statements as changes; other columns are left out."""
    return [Change(*(record[name] for name in _CHANGE)) for record in records]
