"""A whole service as one JSON document: out for keeping and comparing, in with a diff and in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson

from ares_otel.control.config.database import ConfigDatabase, Transaction
from ares_otel.control.config.edits import Author, Outcome, check_names, check_text, check_value
from ares_otel.control.config.errors import InvalidSetting
from ares_otel.control.config.rows import Setting, settings_of
from ares_otel.control.config.secrets import MASKED, Secrets
from ares_otel.control.config.values import dump_json, load_json
from ares_otel.control.crypto import is_envelope
from ares_otel.query.rows import Json

MAX_SETTINGS = 10_000
"""Settings of one document."""
MAX_BYTES = 32 * 1024 * 1024
"""Of one document that comes in, and of the values of one that goes out."""
Mode = Literal["merge", "replace"]
MODES: tuple[Mode, ...] = ("merge", "replace")
_FIELDS = {"config_key", "config_value", "encrypted_value", "description", "is_encrypted", "version"}
_ACTIONS: Mapping[Outcome, str] = {"created": "create", "changed": "change", "unchanged": "unchanged"}


class _Edited(Protocol):
    @property
    def setting(self) -> Setting: ...

    @property
    def outcome(self) -> Outcome: ...


class _Edit(Protocol):
    """`ConfigService.edit`."""

    def __call__(
        self,
        transaction: Transaction,
        service: str,
        key: str,
        value: Any,
        author: Author,
        description: str | None,
        is_encrypted: bool | None,
        present: Setting | None,
        /,
    ) -> Awaitable[_Edited]: ...


@dataclass(frozen=True, slots=True)
class _Entry:
    """One setting of a document that comes in."""

    key: str
    value: Any
    is_sealed: bool
    """Whether `value` is an envelope."""
    description: str | None
    is_encrypted: bool | None


class Transfer:
    """Documents out and in."""

    def __init__(self, database: ConfigDatabase, secrets: Secrets, edit: _Edit) -> None:
        self._database = database
        self._secrets = secrets
        self._edit = edit

    async def export_document(self, service: str, *, revealed_by: str | None = None) -> dict[str, Any]:
        """`{"service_name", "configs": [{"config_key", "config_value", "description", "is_encrypted", "version"}…]}` by
        key: the same settings give the same bytes. A secret has its envelope as `encrypted_value` in place of
        `config_value`, which another Ares with the same key can import; JSON texts are `orjson.Fragment`.

        Args:
            revealed_by: who asks to have secrets in plain text, for the record. What no key opens stays sealed.

        Raises:
            InvalidSetting: the service has more than one document may hold.
        """
        opening = self._database.reading() if revealed_by is None else self._database.revealing()
        async with opening as transaction:
            records = await transaction.all("settings", service=service, limit=MAX_SETTINGS + 1, max_bytes=MAX_BYTES)
            rows = settings_of(records[:MAX_SETTINGS])
            if records and records[0]["found"] > len(rows):
                raise InvalidSetting(
                    "service", f"The service has more than {MAX_SETTINGS} settings or {MAX_BYTES} bytes of values."
                )
            configs, revealed = [], []
            for row in rows:
                shown, opened = self._secrets.opened_or_masked(row) if revealed_by is not None else (row, False)
                if opened:
                    revealed.append(row)
                sealed = row.is_encrypted and not opened
                configs.append(
                    {
                        "config_key": row.config_key,
                        "encrypted_value" if sealed else "config_value": orjson.Fragment(
                            row.config_value if sealed else shown.config_value
                        ),
                        "description": row.description,
                        "is_encrypted": row.is_encrypted,
                        "version": row.version,
                    }
                )
            if revealed:
                await transaction.all(
                    "record_reveals",
                    service=service,
                    who=revealed_by,
                    surface="export",
                    keys=[row.config_key for row in revealed],
                    versions=[row.version for row in revealed],
                )
        return {"service_name": service, "configs": configs}

    async def import_document(
        self, service: str, document: Any, author: Author, *, mode: Mode, dry_run: bool
    ) -> list[dict[str, Any]]:
        """Sets every setting of a document, all or none, and says what that does, by key:
        `{"config_key", "action", "old_value", "new_value", "old_version", "version"}` with action `create`, `change`,
        `unchanged` or `delete`. Secrets are masked.

        Args:
            document: as `export_document` gives it; `version` is not looked at.
            mode: `replace` also deletes what the document does not have.
            dry_run: does everything and takes it back: the answer is what an import would do just now.

        Raises:
            InvalidSetting: the document is wrong; `field` says where.
            KeyMissing, KeyWrong: a secret does not open, or cannot be sealed.
        """
        entries = _entries(service, document)
        wanted = {entry.key for entry in entries}
        diff: list[dict[str, Any]] = []
        async with self._database.editing(author.updated_by, author.reason, dry_run=dry_run) as transaction:
            records = await transaction.all("settings", service=service, limit=10**6, max_bytes=10**12)
            present = {row.config_key: row for row in settings_of(records)}
            for entry in entries:
                row = present.get(entry.key)
                if (
                    entry.is_sealed
                    and row is not None
                    and row.is_encrypted
                    and load_json(row.config_value) == entry.value
                ):
                    diff.append(_line(entry.key, "unchanged", row, MASKED, row.version))
                    continue
                value = entry.value
                if entry.is_sealed:
                    value = self._secrets.open(service, entry.key, dump_json(value))
                check_value(service, entry.key, value)
                edited = await self._edit(
                    transaction, service, entry.key, value, author, entry.description, entry.is_encrypted, row
                )
                setting = edited.setting
                action = _ACTIONS[edited.outcome]
                diff.append(_line(entry.key, action, row, setting.config_value, setting.version))
            if mode == "replace":
                for key in sorted(present.keys() - wanted):
                    await transaction.first("delete", service=service, key=key)
                    diff.append(_line(key, "delete", present[key], None, present[key].version + 1))
        return sorted(diff, key=lambda line: str(line["config_key"]).encode())


def _line(key: str, action: str, old: Setting | None, new: Json | None, version: int) -> dict[str, Any]:
    old_value = None if old is None else MASKED if old.is_encrypted else old.config_value
    return {
        "config_key": key,
        "action": action,
        "old_value": None if old_value is None else orjson.Fragment(old_value),
        "new_value": None if new is None else orjson.Fragment(new),
        "old_version": old and old.version,
        "version": version,
    }


def _entries(service: str, document: Any) -> Sequence[_Entry]:
    """The settings of a document. Raises InvalidSetting."""
    if not isinstance(document, dict):
        raise InvalidSetting("body", "The document must be an object with `configs`, as export gives it.")
    if unknown := sorted(document.keys() - {"service_name", "configs"}):
        raise InvalidSetting(unknown[0], "A document has no such field; it has `service_name` and `configs`.")
    if document.get("service_name", service) != service:
        raise InvalidSetting("service_name", f"The document is of another service than {service}.")
    configs = document.get("configs")
    if not isinstance(configs, list) or len(configs) > MAX_SETTINGS:
        raise InvalidSetting("configs", f"The value must be a list of at most {MAX_SETTINGS} settings.")
    found: dict[str, _Entry] = {}
    for number, item in enumerate(configs):
        try:
            entry = _entry(service, item)
        except InvalidSetting as error:
            raise InvalidSetting(f"configs[{number}].{error.field}", error.message) from None
        if entry.key in found:
            raise InvalidSetting(f"configs[{number}].config_key", "The key is in the document twice.")
        found[entry.key] = entry
    return list(found.values())


def _entry(service: str, item: Any) -> _Entry:
    if not isinstance(item, dict):
        raise InvalidSetting("config_key", "A setting must be an object with `config_key` and `config_value`.")
    if unknown := sorted(item.keys() - _FIELDS):
        raise InvalidSetting(unknown[0], "A setting of a document has no such field.")
    key, description, encrypted = item.get("config_key"), item.get("description"), item.get("is_encrypted")
    if not isinstance(key, str):
        raise InvalidSetting("config_key", "The key must be given, as text.")
    try:
        check_names(service, key)
    except InvalidSetting as error:
        raise InvalidSetting("config_key", error.message) from None
    if description is not None and not isinstance(description, str):
        raise InvalidSetting("description", "The description must be text.")
    check_text("description", description)
    if encrypted is not None and not isinstance(encrypted, bool):
        raise InvalidSetting("is_encrypted", "The value must be true or false.")
    if ("config_value" in item) == ("encrypted_value" in item):
        raise InvalidSetting("config_value", "Give either `config_value` or `encrypted_value`.")
    if "encrypted_value" not in item:
        check_value_field(service, key, item["config_value"])
        return _Entry(key, item["config_value"], False, description, encrypted)
    if not is_envelope(item["encrypted_value"]):
        raise InvalidSetting("encrypted_value", "The value must be an envelope, as export gives it.")
    return _Entry(key, item["encrypted_value"], True, description, True)


def check_value_field(service: str, key: str, value: Any) -> None:
    """`check_value`, for the field of a document. Raises InvalidSetting."""
    try:
        check_value(service, key, value)
    except InvalidSetting as error:
        raise InvalidSetting("config_value", error.message) from None
    dump_json(value)
