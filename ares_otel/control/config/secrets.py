"""Encrypted settings on their way in and out: sealed before SQL sees them, masked unless somebody asks by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ares_otel.control.config.errors import InvalidSetting
from ares_otel.control.config.rows import Change, Setting
from ares_otel.control.config.values import dump_json, load_json
from ares_otel.control.crypto import MASK, CryptoError, Keyring
from ares_otel.query.rows import Json

MASKED = Json(f'"{MASK}"')


class Secrets:
    """Opens and seals values with a keyring."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def seal(self, service: str, key: str, value: Any) -> Json:
        """The envelope of a value, as JSON text.

        Raises:
            KeyMissing: no key is configured.
            InvalidSetting: the value is the mask.
        """
        if value == MASK:
            raise InvalidSetting("value", f"The value {MASK} is what hides a secret; give the secret itself.")
        return self.seal_json(service, key, dump_json(value))

    def seal_json(self, service: str, key: str, text: str) -> Json:
        """The envelope of a value that is JSON text. Raises KeyMissing."""
        return dump_json(self.keyring.encrypt_json(service, key, text))

    def open_json(self, service: str, key: str, envelope: str) -> Json:
        """The value of an envelope, as JSON text. Raises KeyMissing, KeyWrong."""
        return Json(self.keyring.decrypt_json(service, key, load_json(envelope)))

    def open(self, service: str, key: str, envelope: str) -> Any:
        """The value of an envelope. Raises KeyMissing, KeyWrong."""
        return load_json(self.open_json(service, key, envelope))

    def opened(self, setting: Setting) -> Setting:
        """A setting with its value in plain text. Raises KeyMissing, KeyWrong."""
        if not setting.is_encrypted:
            return setting
        text = self.open_json(setting.service_name, setting.config_key, setting.config_value)
        return replace(setting, config_value=text)

    def opened_or_masked(self, setting: Setting) -> tuple[Setting, bool]:
        """A setting in plain text where a key opens it, else masked; and whether it was opened now."""
        if not setting.is_encrypted:
            return setting, False
        try:
            return self.opened(setting), True
        except CryptoError:
            return masked(setting), False

    def opened_change(self, change: Change) -> tuple[Change, bool]:
        """A change in plain text where a key opens it, else masked; and whether anything was opened."""
        shown = False
        texts: list[Json | None] = []
        for text, encrypted in (
            (change.old_value, change.old_is_encrypted),
            (change.new_value, change.new_is_encrypted),
        ):
            if text is not None and encrypted:
                try:
                    text = self.open_json(change.service_name, change.config_key, text)
                    shown = True
                except CryptoError:
                    text = MASKED
            texts.append(text)
        return replace(change, old_value=texts[0], new_value=texts[1]), shown


def masked(setting: Setting) -> Setting:
    """The setting without its secret."""
    return replace(setting, config_value=MASKED) if setting.is_encrypted else setting


def masked_change(change: Change) -> Change:
    """The change without its secrets."""
    return replace(
        change,
        old_value=MASKED if change.old_is_encrypted and change.old_value is not None else change.old_value,
        new_value=MASKED if change.new_is_encrypted and change.new_value is not None else change.new_value,
    )
