"""Encryption of configuration values: AES-256-GCM, with the setting's name bound to its ciphertext.

An encrypted value is an envelope, a JSON object that stands in `service_config.config_value` in place of the value:
`{"alg": "AES-256-GCM", "kid": KEY_ID, "nonce": BASE64, "ct": BASE64}`. `ct` is ciphertext and tag of the value as JSON.
The service and the key are associated data (NIST SP 800-38D): an envelope copied to another setting does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ares_otel.model.errors import AresError, StartError

ALGORITHM = "AES-256-GCM"
KEY_BYTES = 32
NONCE_BYTES = 12
"""96 bits, random: NIST SP 800-38D, 8.2.2. Safe for 2^32 values under one key."""
VARIABLE = "ARES_OTEL_CONFIG_KEY"
FILE_VARIABLE = "ARES_OTEL_CONFIG_KEY_FILE"
OLD_VARIABLE = "ARES_OTEL_CONFIG_OLD_KEYS"
MASK = "********"
"""What a reader sees of an encrypted value unless it asks to have it revealed."""
_FIELDS = {"alg", "kid", "nonce", "ct"}
_KEY_FILE_LIMIT = 4096

log = logging.getLogger("ares_otel.control.crypto")


class CryptoError(AresError):
    """A value could not be encrypted or decrypted."""


class KeyMissing(CryptoError):
    """No key that could open the value is configured."""


class KeyWrong(CryptoError):
    """The value does not open: it was changed, or it belongs to another setting, or the key is another one."""


class Keyring:
    """The current key, which encrypts, and older ones, which still decrypt. Never shows a key."""

    __slots__ = ("_ciphers", "current_id")

    def __init__(self, current: bytes | None = None, old: Iterable[bytes] = ()) -> None:
        """Each key is 32 bytes. Raises ValueError for another length."""
        self._ciphers: dict[str, AESGCM] = {}
        for key in (*([] if current is None else [current]), *old):
            if len(key) != KEY_BYTES:
                raise ValueError(f"A key of {ALGORITHM} has {KEY_BYTES} bytes, not {len(key)}.")
            self._ciphers.setdefault(key_id(key), AESGCM(key))
        self.current_id = None if current is None else key_id(current)
        """Id of the key that encrypts, or None."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Keyring:
        """The keys that the environment names; an empty keyring when it names none. A key file may hold several, apart
        by white space: the first encrypts, the others only decrypt.

        Raises:
            StartError: a variable does not hold what it should. The message names the variable, never its value.
        """
        text, file = environ.get(VARIABLE, "").strip(), environ.get(FILE_VARIABLE, "").strip()
        if text and file:
            raise StartError(f"Both {VARIABLE} and {FILE_VARIABLE} are set; set only one of them.")
        keys = [_parse_key(text, VARIABLE)] if text else []
        if file:
            parts = _read_key_file(Path(file)).split()
            keys = [_parse_key(part, f"{FILE_VARIABLE} (key {n} of the file)") for n, part in enumerate(parts, 1)]
        old = [part.strip() for part in environ.get(OLD_VARIABLE, "").split(",")]
        keys_before = [
            _parse_key(part, f"{OLD_VARIABLE} (key {n} of the list)") for n, part in enumerate(old, 1) if part
        ]
        return cls(keys[0] if keys else None, [*keys[1:], *keys_before])

    def take_from(self, other: Keyring) -> None:
        """Has the keys of another keyring from now on, for everybody who holds this one."""
        self._ciphers, self.current_id = other._ciphers, other.current_id

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of all keys, the current one first."""
        return tuple(self._ciphers)

    def require_current(self, service: str = "", key: str = "") -> str:
        """The id of the key that encrypts. Raises KeyMissing when there is none."""
        if self.current_id is None:
            what = f"The value of {service}/{key} cannot be encrypted" if key else "Nothing can be encrypted"
            raise KeyMissing(
                f"{what}: no encryption key is set. Set {VARIABLE} or {FILE_VARIABLE} to {KEY_BYTES} bytes in base64 "
                f"or hex, for example from `openssl rand -base64 {KEY_BYTES}`, and start Ares again."
            )
        return self.current_id

    def encrypt(self, service: str, key: str, value: Any) -> dict[str, str]:
        """The envelope of a JSON value, as `json.loads` gives it; numbers may be Decimal.

        Raises:
            KeyMissing: there is no current key.
            ValueError: the value is not JSON. Its text is not in the message.
        """
        try:
            return self.encrypt_json(service, key, _json_text(value))
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"The value of {service}/{key} is not JSON.") from None

    def encrypt_json(self, service: str, key: str, text: str) -> dict[str, str]:
        """The envelope of a value given as JSON text, which comes back to the letter. Raises KeyMissing."""
        kid = self.require_current(service, key)
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[kid].encrypt(nonce, text.encode("utf-8"), _bound(service, key))
        return {"alg": ALGORITHM, "kid": kid, "nonce": _encoded(nonce), "ct": _encoded(sealed)}

    def decrypt(self, service: str, key: str, envelope: Any) -> Any:
        """The JSON value of an envelope.

        Raises:
            KeyMissing: no key with the envelope's id is configured.
            KeyWrong: it does not open, or it is no envelope.
        """
        return json.loads(self.decrypt_json(service, key, envelope))

    def decrypt_json(self, service: str, key: str, envelope: Any) -> str:
        """The JSON text of an envelope. Raises as `decrypt` does."""
        if not is_envelope(envelope):
            raise KeyWrong(
                f"The value of {service}/{key} is marked as encrypted, but it is no {ALGORITHM} envelope; "
                f"set it again with is_encrypted=true."
            )
        kid = envelope["kid"]
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise KeyMissing(
                f"The value of {service}/{key} is encrypted with the key {kid[:8]}, which is not configured"
                f"{' (configured: ' + ', '.join(self._ciphers) + ')' if self._ciphers else ''}; "
                f"set it in {VARIABLE}, in {FILE_VARIABLE}, or among {OLD_VARIABLE}."
            )
        try:
            nonce = base64.b64decode(envelope["nonce"], validate=True)
            sealed = base64.b64decode(envelope["ct"], validate=True)
            return cipher.decrypt(nonce, sealed, _bound(service, key)).decode("utf-8")
        except (InvalidTag, ValueError):
            raise KeyWrong(
                f"The value of {service}/{key} does not open with the key {kid}: it was changed, or copied from "
                f"another setting. Set it again, or roll it back to a version that opens."
            ) from None

    def __repr__(self) -> str:
        return f"Keyring(current={self.current_id}, all={list(self._ciphers)})"


def is_envelope(value: Any) -> bool:
    """Whether a JSON value has the form of an envelope."""
    return (
        isinstance(value, dict)
        and value.keys() == _FIELDS
        and all(isinstance(part, str) for part in value.values())
        and value["alg"] == ALGORITHM
    )


def key_id(key: bytes) -> str:
    """Eight hex digits that tell keys apart and nothing about them."""
    return hashlib.sha256(b"ares-otel config key id\0" + key).hexdigest()[:8]


def _bound(service: str, key: str) -> bytes:
    """Associated data: both names with their lengths, so that ("a", "bc") is not ("ab", "c")."""
    parts = (service.encode("utf-8", "surrogatepass"), key.encode("utf-8", "surrogatepass"))
    return b"ares-otel config\0" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _json_text(value: Any) -> str:
    """Raises ValueError or TypeError for what is not JSON."""
    try:
        # Not orjson alone: it makes null of NaN and takes whole numbers of 64 bits only.
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except TypeError:
        return orjson.dumps(value, default=_exact).decode()  # with Decimal


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _parse_key(text: str, where: str) -> bytes:
    """32 bytes in hex or base64 (either alphabet). Raises StartError naming `where`, never the text."""
    if len(text) == 2 * KEY_BYTES:
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    try:
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise StartError(f"{where} is neither hex nor base64; it must hold {KEY_BYTES} bytes in one of them.") from None
    if len(data) != KEY_BYTES:
        raise StartError(
            f"{where} holds {len(data)} bytes, but a key of {ALGORITHM} has {KEY_BYTES}; "
            f"make one with `openssl rand -base64 {KEY_BYTES}`."
        )
    return data


def _read_key_file(path: Path) -> str:
    """The text of the key file. Raises StartError when it cannot be read; warns when others can read it too."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise StartError(f"{FILE_VARIABLE}: {path} is not a file.")
            data = file.read(_KEY_FILE_LIMIT)
        text = data.decode("ascii").strip()
    except OSError as error:
        raise StartError(f"{FILE_VARIABLE}: {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise StartError(f"{FILE_VARIABLE}: {path} must hold {KEY_BYTES} bytes as base64 or hex text.") from None
    if not text:
        raise StartError(f"{FILE_VARIABLE}: {path} is empty; it must hold {KEY_BYTES} bytes as base64 or hex.")
    if mode & 0o077:
        log.warning("The key file %s can be read by other users of this machine; run chmod 600 on it.", path)
    return text
