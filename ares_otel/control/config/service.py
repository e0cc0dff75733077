"""The configuration service: settings with versions, history, rollback and secrets. REST and the command line use it.

One mechanism for all editors: triggers on `service_config` (migration 010) give versions, write the history and send
the notification. What is here says who and why, checks values, and seals secrets before SQL sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from ares_otel.control.config.database import ConfigDatabase, Transaction
from ares_otel.control.config.edits import (
    ALWAYS,
    Author,
    Condition,
    Outcome,
    check_names,
    check_text,
    check_value,
    check_who,
)
from ares_otel.control.config.errors import NoSuchSetting, NoSuchVersion, VersionWasDeletion
from ares_otel.control.config.rows import Change, Setting, changes_of, settings_of
from ares_otel.control.config.secrets import Secrets, masked, masked_change
from ares_otel.control.config.transfer import Mode, Transfer
from ares_otel.control.config.values import dump_json, load_json, same_json
from ares_otel.control.crypto import CryptoError, Keyring
from ares_otel.query.reader import MAX_BYTES
from ares_otel.query.rows import was_cut

MAX_SETTINGS = 10_000
"""Settings of one service that one answer may hold."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a service, by key."""

    rows: list[Setting]
    truncated: bool
    """Whether there are more than one answer may hold."""
    revision: int
    """Id of the newest change of them in the history, 0 when there never was one."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Changes of one setting, newest first."""

    rows: list[Change]
    next: int | None
    """`before` of the next page; None at the end."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A setting after an edit, and what the edit did. Secrets are masked."""

    setting: Setting
    outcome: Outcome


class ConfigService:
    """Settings of every service. Every method checks its arguments and raises, besides what it names itself:

    * InvalidSetting: an argument is wrong; the message never quotes a value.
    * DatabaseUnavailable, QueryTooSlow: the database does not do it just now. Edits also ConfigBusy.
    """

    def __init__(self, pool: asyncpg.Pool, keyring: Keyring | None = None) -> None:
        """
        Args:
            pool: connections to read and write with. The caller opens and closes it.
            keyring: opens and seals encrypted settings; without it they stay masked, and nothing can be encrypted.
        """
        self._database = ConfigDatabase(pool)
        self._secrets = Secrets(keyring or Keyring())
        self._transfer = Transfer(self._database, self._secrets, self.edit)

    async def settings(self, service: str, *, revealed_by: str | None = None) -> Settings:
        """The settings of a service; none for a service that has none.

        Args:
            revealed_by: who asks to see secrets in plain text, for the record. What no key opens stays masked.
        """
        check_names(service)
        async with self._opened(revealed_by) as transaction:
            revision = await transaction.first("newest_change_of", service=service)
            records = await transaction.all("settings", service=service, limit=MAX_SETTINGS + 1, max_bytes=MAX_BYTES)
            rows = settings_of(records[:MAX_SETTINGS])
            if revealed_by is not None:
                pairs = [self._secrets.opened_or_masked(row) for row in rows]
                await _record(transaction, service, revealed_by, "list", [row for row, shown in pairs if shown])
                rows = [row for row, _ in pairs]
        rows = [*map(masked, rows)] if revealed_by is None else rows
        return Settings(rows, was_cut(records, MAX_SETTINGS), _id(revision))

    async def get(self, service: str, key: str, *, revealed_by: str | None = None) -> Setting:
        """One setting.

        Raises:
            NoSuchSetting
            KeyMissing, KeyWrong: `revealed_by` is given and the value does not open.
        """
        check_names(service, key)
        async with self._opened(revealed_by) as transaction:
            setting = await _setting(transaction, service, key)
            if setting is None:
                raise _no_such(service, key)
            if revealed_by is None:
                return masked(setting)
            if setting.is_encrypted:
                setting = self._secrets.opened(setting)
                await _record(transaction, service, revealed_by, "value", [setting])
            return setting

    async def put(
        self,
        service: str,
        key: str,
        value: Any,
        author: Author,
        *,
        description: str | None = None,
        is_encrypted: bool | None = None,
        condition: Condition = ALWAYS,
    ) -> Edited:
        """Sets a setting. The value that it has already makes no new version; a new description alone neither.

        Args:
            value: JSON as `values.parse_json` gives it.
            description: None keeps the present one.
            is_encrypted: None keeps a secret a secret, also one that was deleted in between; for others it means False.

        Raises:
            PreconditionFailed
            KeyMissing: the value is to be encrypted and there is no key; or no condition is given and the present
                value was encrypted with a key that is not here.
            KeyWrong: no condition is given and the present value does not open.
        """
        check_names(service, key)
        check_text("description", description)
        check_value(service, key, value)
        async with self._database.editing(author.updated_by, author.reason) as transaction:
            present = await _setting(transaction, service, key)
            condition.check(_version(present))
            if present is not None and present.is_encrypted and is_encrypted is not False and condition == ALWAYS:
                # A process with the wrong key must not take a secret away from those with the right one. Whoever means
                # it names the version, or deletes the setting first.
                self._secrets.opened(present)
            return await self.edit(transaction, service, key, value, author, description, is_encrypted, present)

    async def edit(
        self,
        transaction: Transaction,
        service: str,
        key: str,
        value: Any,
        author: Author,
        description: str | None,
        is_encrypted: bool | None,
        present: Setting | None,
    ) -> Edited:
        """Sets a setting within a transaction of `editing`; the arguments have been checked."""
        latest = await transaction.first("latest", service=service, key=key)
        if is_encrypted is None:
            is_encrypted = present.is_encrypted if present else bool(latest and latest["old_is_encrypted"])
        if present is not None and present.is_encrypted == is_encrypted and self._holds(present, value):
            if description is None or description == present.description:
                return Edited(masked(present), "unchanged")
            record = await transaction.first("describe", service=service, key=key, description=description)
            return Edited(masked(_one(record)), "unchanged")
        record = await transaction.first(
            "create" if present is None else "change",
            service=service,
            key=key,
            value=self._secrets.seal(service, key, value) if is_encrypted else dump_json(value),
            description=description,
            is_encrypted=is_encrypted,
            who=author.updated_by,
        )
        if is_encrypted and not (present and present.is_encrypted):
            await self._seal_history(transaction, service, key)
        return Edited(masked(_one(record)), "created" if present is None else "changed")

    async def delete(self, service: str, key: str, author: Author, *, condition: Condition = ALWAYS) -> Change:
        """Deletes a setting and gives the row of the history that says so; the history stays.

        Raises:
            NoSuchSetting, PreconditionFailed
        """
        check_names(service, key)
        async with self._database.editing(author.updated_by, author.reason) as transaction:
            present = await _setting(transaction, service, key)
            if present is None and condition == ALWAYS:
                raise _no_such(service, key)
            condition.check(_version(present))
            if present is None:
                raise _no_such(service, key)
            await transaction.first("delete", service=service, key=key)
            record = await transaction.first("version", service=service, key=key, version=present.version + 1)
        return masked_change(changes_of([record])[0])

    async def history(
        self, service: str, key: str, *, limit: int = 100, before: int | None = None, revealed_by: str | None = None
    ) -> HistoryPage:
        """Changes of a setting, newest first; of a deleted one too.

        Args:
            limit: rows at most; fewer where values are so large that together they pass `reader.MAX_BYTES`.
            before: only versions below this one.
            revealed_by: who asks to see secrets in plain text, for the record. What no key opens stays masked.

        Raises:
            NoSuchSetting: there never was such a setting.
        """
        check_names(service, key)
        async with self._opened(revealed_by) as transaction:
            records = await transaction.all(
                "history", service=service, key=key, before=before, limit=limit + 1, max_bytes=MAX_BYTES
            )
            if not records and before is None:
                raise _no_such(service, key)
            rows = changes_of(records[:limit])
            more = was_cut(records, limit)
            if revealed_by is not None:
                pairs = [self._secrets.opened_change(row) for row in rows]
                await _record(transaction, service, revealed_by, "history", [row for row, shown in pairs if shown])
                rows = [row for row, _ in pairs]
            else:
                rows = [masked_change(row) for row in rows]
        return HistoryPage(rows, rows[-1].version if more else None)

    async def rollback(
        self, service: str, key: str, version: int, author: Author, *, condition: Condition = ALWAYS
    ) -> Edited:
        """Sets a setting to the value of an earlier version, as a new version. A deleted setting comes back; a secret
        stays a secret.

        Raises:
            NoSuchSetting, NoSuchVersion, VersionWasDeletion, PreconditionFailed
            KeyMissing, KeyWrong: the value of that version does not open.
            InvalidSetting: Ares knows the setting, and that value is not what it may hold.
        """
        check_names(service, key)
        async with self._database.editing(author.updated_by, author.reason) as transaction:
            present = await _setting(transaction, service, key)
            if await transaction.first("latest", service=service, key=key) is None:
                raise _no_such(service, key)
            condition.check(_version(present))
            record = await transaction.first("version", service=service, key=key, version=version)
            if record is None:
                raise NoSuchVersion(f"{service}/{key} never had a version {version}; its history lists those it had.")
            then = changes_of([record])[0]
            if then.new_value is None:
                raise VersionWasDeletion
            value = (
                self._secrets.open(service, key, then.new_value) if then.new_is_encrypted else load_json(then.new_value)
            )
            check_value(service, key, value)
            encrypted = True if then.new_is_encrypted else None
            return await self.edit(transaction, service, key, value, author, None, encrypted, present)

    async def export(self, service: str, *, revealed_by: str | None = None) -> dict[str, Any]:
        """See `Transfer.export_document`."""
        check_names(service)
        return await self._transfer.export_document(service, revealed_by=revealed_by)

    async def import_(
        self, service: str, document: Any, author: Author, *, mode: Mode = "merge", dry_run: bool = False
    ) -> list[dict[str, Any]]:
        """See `Transfer.import_document`."""
        check_names(service)
        return await self._transfer.import_document(service, document, author, mode=mode, dry_run=dry_run)

    async def snapshot(self, service: str) -> tuple[int, Settings]:
        """The settings of a service, and the id of the newest change of all: what comes after it is not in them."""
        check_names(service)
        async with self._database.reading() as transaction:
            newest = await transaction.first("newest_change")
            revision = await transaction.first("newest_change_of", service=service)
            records = await transaction.all("settings", service=service, limit=MAX_SETTINGS + 1, max_bytes=MAX_BYTES)
        rows = [masked(row) for row in settings_of(records[:MAX_SETTINGS])]
        return _id(newest), Settings(rows, was_cut(records, MAX_SETTINGS), _id(revision))

    async def changes(self, service: str, after: int, *, limit: int = 20) -> Sequence[Change]:
        """The next changes of a service after the one with the id `after`, in the order of their commits. Without old
        values; secrets are masked."""
        async with self._database.reading() as transaction:
            records = await transaction.all("changes_after", service=service, after=after, limit=limit)
        return [_announced(record) for record in records]

    async def newest_change(self) -> int:
        """The id of the newest change of all, 0 when there is none."""
        async with self._database.reading() as transaction:
            return _id(await transaction.first("newest_change"))

    def _opened(self, revealed_by: str | None) -> Any:
        if revealed_by is None:
            return self._database.reading()
        check_who("revealed_by", revealed_by)
        return self._database.revealing()

    def _holds(self, present: Setting, value: Any) -> bool:
        """Whether the setting has this value. A secret that does not open may be anything: it counts as another."""
        if not present.is_encrypted:
            return same_json(load_json(present.config_value), value)
        try:
            return same_json(self._secrets.open(present.service_name, present.config_key, present.config_value), value)
        except CryptoError:
            return False

    async def _seal_history(self, transaction: Transaction, service: str, key: str) -> None:
        """A setting becomes a secret: what the history holds of it in plain text is sealed too."""
        records = await transaction.all("plain_history", service=service, key=key)
        if not records:
            return
        await transaction.first("rekey_allowed", rekey="on")
        for record in records:
            values: dict[str, object] = {"id": record["id"]}
            for name in ("old", "new"):
                text, encrypted = record[f"{name}_value"], record[f"{name}_is_encrypted"]
                if text is not None and not encrypted:
                    text, encrypted = self._secrets.seal_json(service, key, text), True
                values |= {f"{name}_value": text, f"{name}_is_encrypted": encrypted}
            await transaction.all("seal_history", **values)
        await transaction.first("rekey_allowed", rekey="off")


async def _setting(transaction: Transaction, service: str, key: str) -> Setting | None:
    record = await transaction.first("setting", service=service, key=key)
    return None if record is None else _one(record)


def _version(present: Setting | None) -> int | None:
    return None if present is None else present.version


def _one(record: Any) -> Setting:
    return settings_of([record])[0]


def _announced(record: Any) -> Change:
    return masked_change(changes_of([record])[0])


def _no_such(service: str, key: str) -> NoSuchSetting:
    return NoSuchSetting(f"{service} has no setting {key}.")


def _id(record: Any | None) -> int:
    return record["id"] if record else 0


async def _record(
    transaction: Transaction, service: str, who: str, surface: str, rows: Sequence[Setting | Change]
) -> None:
    if rows:
        await transaction.all(
            "record_reveals",
            service=service,
            who=who,
            surface=surface,
            keys=[row.config_key for row in rows],
            versions=[row.version for row in rows],
        )
