"""Exported settings as files: read, written, compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from ares_otel.cli import console
from ares_otel.cli.config_text import change_line, value_line
from ares_otel.control.config.errors import InvalidSetting
from ares_otel.control.config.transfer import MAX_BYTES
from ares_otel.control.config.values import BadJson, dump_json, parse_json, same_json


def is_document(name: str) -> bool:
    """Whether the name is that of a file, or `-`, standard input."""
    return name == "-" or Path(name).is_file()


def standard_input(limit: int) -> str:
    text = sys.stdin.read(limit + 1)
    if len(text) > limit:
        raise InvalidSetting("value", f"Standard input holds more than {limit} characters.")
    return text


def read_document(file: Path) -> Any:
    """Raises InvalidSetting for what cannot be read or is no JSON."""
    try:
        if str(file) == "-":
            data = standard_input(MAX_BYTES).encode()
        elif file.stat().st_size > MAX_BYTES:
            raise InvalidSetting("file", f"{file} is larger than {MAX_BYTES} bytes.")
        else:
            data = file.read_bytes()
        return parse_json(data)
    except OSError as error:
        raise InvalidSetting("file", f"{file} cannot be read: {error.strerror}.") from None
    except BadJson as error:
        raise InvalidSetting("file", str(error).replace("The body", str(file))) from None


def write_document(file: Path, text: str, *, private: bool) -> None:
    """Writes an exported document; what was revealed is for the one who asked only. Raises InvalidSetting."""
    try:
        file.touch(mode=0o600 if private else 0o644)
        if private:
            file.chmod(0o600)
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidSetting("output", f"{file} cannot be written: {error.strerror}.") from None


def settings_of(document: Any) -> dict[str, dict[str, Any]]:
    """The settings of a document, by key. Raises InvalidSetting for what is no exported document."""
    configs = document.get("configs") if isinstance(document, dict) else None
    if not isinstance(configs, list) or not all(
        isinstance(c, dict) and isinstance(c.get("config_key"), str) for c in configs
    ):
        raise InvalidSetting("file", "That is no document of `ares-otel config export`.")
    return {setting["config_key"]: setting for setting in configs}


def same_setting(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Secrets that stay sealed are never the same, unless they are the same envelope."""
    return all(same_json(one.get(name), other.get(name)) for name in ("config_value", "encrypted_value"))


def shown_setting(setting: dict[str, Any]) -> str:
    return value_line(dump_json(setting["config_value"])) if "config_value" in setting else "an encrypted value"


def import_line(service: str, change: dict[str, Any], by: str, reason: str | None) -> str:
    old, new = (
        None if change[name] is None else orjson.dumps(change[name]).decode() for name in ("old_value", "new_value")
    )
    secret = old == new and old is not None
    return (
        f"{console.printable(service)}/{console.printable(change['config_key'])}: "
        f"{change_line(old, new, by, reason, secret=secret)} (version {change['version']})"
    )
