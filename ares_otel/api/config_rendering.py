"""Settings and changes as JSON: columns by name, values as they are stored."""

from __future__ import annotations

from typing import Any

import orjson

from ares_otel.api.rendering import render_time
from ares_otel.control.config.rows import Change, Setting
from ares_otel.query.rows import Json


def render_setting(row: Setting) -> dict[str, Any]:
    """A row of `service_config`."""
    return {
        "id": row.id,
        "service_name": row.service_name,
        "config_key": row.config_key,
        "config_value": orjson.Fragment(row.config_value),
        "description": row.description,
        "is_encrypted": row.is_encrypted,
        "version": row.version,
        "last_updated": render_time(row.last_updated),
        "updated_by": row.updated_by,
        "created_at": render_time(row.created_at),
    }


def render_change(row: Change) -> dict[str, Any]:
    """A row of `service_config_history`, and what it was. Where there was no value it is null, like the JSON value
    null; `action` tells them apart."""
    return {
        "id": row.id,
        "service_name": row.service_name,
        "config_key": row.config_key,
        "version": row.version,
        "action": row.action,
        "old_value": _json(row.old_value),
        "new_value": _json(row.new_value),
        "old_is_encrypted": row.old_is_encrypted,
        "new_is_encrypted": row.new_is_encrypted,
        "changed_by": row.changed_by,
        "change_reason": row.change_reason,
        "changed_at": render_time(row.changed_at),
    }


def render_event(row: Change) -> dict[str, Any]:
    """A change as a stream tells it: with the value where it is no secret."""
    event: dict[str, Any] = {
        "service": row.service_name,
        "key": row.config_key,
        "version": row.version,
        "deleted": row.new_value is None,
        "updated_by": row.changed_by,
        "at": render_time(row.changed_at),
        "is_encrypted": row.new_is_encrypted,
    }
    if row.new_value is not None and not row.new_is_encrypted:
        event["value"] = orjson.Fragment(row.new_value)
    return event


def _json(text: Json | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
