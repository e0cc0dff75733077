"""What `ares-otel config …` does, through `ConfigService` as the REST API does. Actions give the exit status."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import typer

from ares_otel.cli import console
from ares_otel.cli.config_documents import (
    import_line,
    is_document,
    read_document,
    same_setting,
    settings_of,
    shown_setting,
    standard_input,
    write_document,
)
from ares_otel.cli.config_text import change_line, raw_value, table, value_line, when
from ares_otel.control.config.changes import ChangeFeed
from ares_otel.control.config.edits import ALWAYS, Author, Condition
from ares_otel.control.config.errors import InvalidSetting, NoSuchVersion
from ares_otel.control.config.rows import Change, Setting
from ares_otel.control.config.service import ConfigService, Edited
from ares_otel.control.config.values import MAX_BYTES, BadJson, parse_json
from ares_otel.control.crypto import Keyring
from ares_otel.control.rekey import RekeyReport, rekey
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded_client import running_url


@asynccontextmanager
async def acting(data_dir: Path, database_url: str | None) -> AsyncIterator[Actions]:
    """The actions on a database. Raises StartError when it cannot be reached, or when a key is no key."""
    keyring = Keyring.from_environ()
    url = database_url or running_url(data_dir)
    facts = await check_database(url, need_create=False)
    pool = await asyncpg.create_pool(
        url, min_size=0, max_size=2, timeout=10, command_timeout=60, **asyncpg_kwargs(facts)
    )
    try:
        yield Actions(url, facts, pool, keyring)
    finally:
        pool.terminate()


class Actions:
    """One method a command. They raise AresError with a sentence for the person."""

    def __init__(self, url: str, facts: ServerFacts, pool: asyncpg.Pool, keyring: Keyring) -> None:
        self._url = url
        self._facts = facts
        self._pool = pool
        self._keyring = keyring
        self._service = ConfigService(pool, keyring)

    async def get(self, service: str, key: str, revealed_by: str | None, as_json: bool) -> int:
        setting = await self._service.get(service, key, revealed_by=revealed_by)
        typer.echo(_json(_row(setting)) if as_json else raw_value(setting.config_value))
        if setting.is_encrypted and revealed_by is None:
            console.hint("The value is encrypted; --reveal shows it.")
        return 0

    async def set(
        self,
        service: str,
        key: str,
        text: str,
        string: bool,
        by: str,
        reason: str | None,
        description: str | None,
        encrypt: bool | None,
        if_version: int | None,
    ) -> int:
        value = _parsed(standard_input(MAX_BYTES).rstrip("\r\n") if text == "-" else text, string)
        condition = (
            ALWAYS if if_version is None else Condition(exists=False) if if_version == 0 else Condition([if_version])
        )
        edited = await self._service.put(
            service,
            key,
            value,
            Author(by, reason),
            description=description,
            is_encrypted=encrypt,
            condition=condition,
        )
        return await self._say(edited)

    async def delete(self, service: str, key: str, by: str, reason: str | None) -> int:
        _say_change(await self._service.delete(service, key, Author(by, reason)))
        return 0

    async def show_all(self, service: str, revealed_by: str | None, as_json: bool) -> int:
        settings = await self._service.settings(service, revealed_by=revealed_by)
        if as_json:
            typer.echo(_json([_row(setting) for setting in settings.rows]))
        elif settings.rows:
            rows = [("KEY", "VALUE", "VERSION", "CHANGED", "BY", "DESCRIPTION")]
            rows += [
                (
                    console.printable(setting.config_key),
                    value_line(setting.config_value),
                    str(setting.version),
                    when(setting.last_updated),
                    console.printable(setting.updated_by),
                    console.printable(setting.description),
                )
                for setting in settings.rows
            ]
            typer.echo(table(rows))
        else:
            console.hint(f"{service} has no settings.")
        if settings.truncated:
            console.hint("There are more settings than are shown; read the others by name.")
        return 0

    async def history(self, service: str, key: str, limit: int, revealed_by: str | None, as_json: bool) -> int:
        page = await self._service.history(service, key, limit=limit, revealed_by=revealed_by)
        if as_json:
            typer.echo(_json([_row(change) for change in page.rows]))
            return 0
        rows = [(f"version {c.version}", when(c.changed_at), _line(c, revealed_by is None)) for c in page.rows]
        typer.echo(table(rows))
        if page.next is not None:
            console.hint("There are older changes; --limit shows more.")
        return 0

    async def diff(self, what: list[str]) -> int:
        """0: no difference, 1: some."""
        if len(what) > 2:
            return await self._diff_versions(what[0], what[1], [int(text) for text in what[2:]])
        left, right = [await self._document(name) for name in what]
        differs = False
        for key in sorted(left.keys() | right.keys()):
            one, other = left.get(key), right.get(key)
            if one is not None and other is not None and same_setting(one, other):
                continue
            differs = True
            if one is not None:
                typer.echo(f"- {console.printable(key)}: {shown_setting(one)}")
            if other is not None:
                typer.echo(f"+ {console.printable(key)}: {shown_setting(other)}")
        return int(differs)

    async def rollback(self, service: str, key: str, version: int, by: str, reason: str | None) -> int:
        return await self._say(await self._service.rollback(service, key, version, Author(by, reason)))

    async def export(self, service: str, output: Path | None, revealed_by: str | None) -> int:
        document = await self._service.export(service, revealed_by=revealed_by)
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
        if output is None:
            typer.echo(text)
            return 0
        write_document(output, text, private=revealed_by is not None)
        console.hint(f"The settings of {service} are in {output}.")
        return 0

    async def import_(self, service: str, file: Path, by: str, reason: str | None, replace: bool, dry_run: bool) -> int:
        changes = await self._service.import_(
            service, read_document(file), Author(by, reason), mode="replace" if replace else "merge", dry_run=dry_run
        )
        changes = [change for change in changes if change["action"] != "unchanged"]
        for change in changes:
            typer.echo(import_line(service, change, by, reason))
        if not changes:
            typer.echo("Nothing changes." if dry_run else "Nothing changed.")
        elif dry_run:
            console.hint("Nothing was changed; without --dry-run it will be.")
        return 0

    async def watch(self, service: str) -> int:
        """Never returns; Ctrl-C ends it. While the database is away it waits."""
        feed = ChangeFeed(self._service, self._connect, listens=not self._facts.pooled)
        await feed.start()
        try:
            _, changes = await feed.watch(service)
            console.hint(f"Watching {service}; Ctrl-C ends it.")
            async for change in changes:
                if change is not None:
                    await self._say_watched(change)
        finally:
            await feed.stop()
        return 0

    async def rotate_key(self) -> int:
        kid = self._keyring.require_current()
        connection = await self._connect()
        try:
            report = await rekey(connection, self._keyring, progress=_rekey_progress)
        finally:
            connection.terminate()
        for sentence in report.failed:
            console.error(sentence)
        done = f"{report.current} current and {report.history} past values were encrypted anew with the key {kid}"
        if report.failed:
            typer.echo(f"{done}; {len(report.failed)} rows do not open and were left as they are.")
            return 1
        typer.echo(
            f"{done}; no encrypted value needs another key."
            if report.current + report.history
            else f"All encrypted values are under the key {kid} already."
        )
        return 0

    async def _say(self, edited: Edited) -> int:
        """What an edit did, from the history, where the old value and the reason are."""
        setting = edited.setting
        name = _name(setting)
        if edited.outcome == "unchanged":
            typer.echo(f"{name} is {value_line(setting.config_value)} already, version {setting.version}.")
            return 0
        page = await self._service.history(
            setting.service_name, setting.config_key, limit=1, before=setting.version + 1
        )
        _say_change(page.rows[0])
        return 0

    async def _say_watched(self, change: Change) -> None:
        """A change with its old value, which the history has."""
        with contextlib.suppress(DatabaseUnavailable, QueryTooSlow):
            page = await self._service.history(
                change.service_name, change.config_key, limit=1, before=change.version + 1
            )
            change = next((row for row in page.rows if row.version == change.version), change)
        typer.echo(f"{when(change.changed_at)}  {_sentence(change)}")
        sys.stdout.flush()

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self._url, timeout=10, command_timeout=60, **asyncpg_kwargs(self._facts))

    async def _diff_versions(self, service: str, key: str, versions: list[int]) -> int:
        found: list[Change] = []
        for version in versions:
            page = await self._service.history(service, key, limit=1, before=version + 1)
            if not page.rows or page.rows[0].version != version:
                raise NoSuchVersion(f"{service}/{key} never had a version {version}; its history lists those it had.")
            found.append(page.rows[0])
        if len(found) == 1:
            found.append((await self._service.history(service, key, limit=1)).rows[0])
        one, other = found
        if one.new_is_encrypted and other.new_is_encrypted and one.version != other.version:
            typer.echo(f"Versions {one.version} and {other.version} are encrypted; they are not compared.")
            return 1
        if one.new_value == other.new_value and one.new_is_encrypted == other.new_is_encrypted:
            return 0
        for sign, change in (("-", one), ("+", other)):
            text = "deleted" if change.new_value is None else value_line(change.new_value)
            why = f": {console.printable(change.change_reason)}" if change.change_reason else ""
            typer.echo(f"{sign} version {change.version}: {text} by {console.printable(change.changed_by)}{why}")
        return 1

    async def _document(self, name: str) -> dict[str, dict[str, Any]]:
        """The settings of an exported file or of a service, by key. Where there is a file of that name, it is meant."""
        if is_document(name):
            return settings_of(read_document(Path(name)))
        settings = settings_of(parse_json(orjson.dumps(await self._service.export(name))))
        if not settings:
            raise InvalidSetting("what", f"{name} is neither a file nor a service that has settings.")
        return settings


def _parsed(text: str, string: bool) -> Any:
    if string:
        return text
    try:
        return parse_json(text.encode("utf-8", "surrogateescape"))
    except BadJson as error:
        if text.lstrip()[:1] in ("{", "["):
            said = str(error).replace("The body", "The value")
            raise InvalidSetting("value", f"{said} If a text is meant, add --string.") from None
        return text


def _row(row: Setting | Change) -> dict[str, Any]:
    """A row for `--json`: values as JSON, not as text."""
    fields = asdict(row)
    for name in ("config_value", "old_value", "new_value"):
        if fields.get(name) is not None:
            fields[name] = json.loads(fields[name])
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _name(row: Setting | Change) -> str:
    return console.printable(f"{row.service_name}/{row.config_key}")


def _line(change: Change, masked: bool = True) -> str:
    secret = masked and (change.old_is_encrypted or change.new_is_encrypted)
    return change_line(change.old_value, change.new_value, change.changed_by, change.change_reason, secret=secret)


def _sentence(change: Change) -> str:
    return f"{_name(change)}: {_line(change)} (version {change.version})"


def _say_change(change: Change) -> None:
    typer.echo(_sentence(change))


def _rekey_progress(report: RekeyReport) -> None:
    console.progress(f"{report.current} current and {report.history} past values encrypted anew ...")
