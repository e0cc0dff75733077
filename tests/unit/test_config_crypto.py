"""The keyring: what it encrypts opens again, for that setting and with that key only, and keys are never shown."""

from __future__ import annotations

import base64
import logging
import os
import string
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares_otel.control.crypto import KeyMissing, Keyring, KeyWrong, is_envelope, key_id
from ares_otel.model.errors import StartError

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
ring = Keyring(ONE)
names = st.text(st.characters(codec="utf-8"), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(names, names, values)
def test_any_json_value_of_any_setting_comes_back(service: str, key: str, value: Any) -> None:
    envelope = ring.encrypt(service, key, value)
    assert is_envelope(envelope)
    assert ring.decrypt(service, key, envelope) == value


@settings(max_examples=100, deadline=None)
@given(names, names, names, names)
def test_an_envelope_opens_for_no_other_setting(service: str, key: str, other: str, other_key: str) -> None:
    envelope = ring.encrypt(service, key, "secret")
    if (service, key) != (other, other_key):
        with pytest.raises(KeyWrong):
            ring.decrypt(other, other_key, envelope)


def test_names_that_read_alike_when_they_are_joined_are_different_settings() -> None:
    with pytest.raises(KeyWrong, match="ab/c does not open"):
        ring.decrypt("ab", "c", ring.encrypt("a", "bc", 1))


def test_the_same_value_gives_another_envelope_each_time() -> None:
    envelopes = [ring.encrypt("a", "b", "same") for _ in range(50)]
    assert len({envelope["nonce"] for envelope in envelopes}) == 50
    assert len({envelope["ct"] for envelope in envelopes}) == 50


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_changed_bit_anywhere_is_noticed(data: st.DataObject) -> None:
    envelope = ring.encrypt("a", "b", "secret")
    part = data.draw(st.sampled_from(["nonce", "ct"]))
    raw = bytearray(base64.b64decode(envelope[part]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(KeyWrong) as caught:
        ring.decrypt("a", "b", {**envelope, part: base64.b64encode(raw).decode()})
    assert "secret" not in str(caught.value)


def test_numbers_that_no_double_holds_come_back_to_the_digit() -> None:
    text = "3.14159265358979323846264338327950288"
    assert ring.decrypt_json("a", "b", ring.encrypt("a", "b", Decimal(text))) == text
    assert ring.decrypt("a", "b", ring.encrypt("a", "b", 10**40)) == 10**40


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes", "\ud800", {1, 2}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="The value of a/b is not JSON"):
        ring.encrypt("a", "b", value)


def test_old_keys_open_and_the_current_one_encrypts() -> None:
    old = Keyring(ONE).encrypt("a", "b", 1)
    both = Keyring(TWO, [ONE])
    assert both.decrypt("a", "b", old) == 1
    assert both.encrypt("a", "b", 1)["kid"] == key_id(TWO)


def test_a_missing_key_is_named_by_its_id_and_by_where_to_set_it() -> None:
    envelope = ring.encrypt("billing", "password", 1)
    with pytest.raises(
        KeyMissing, match=f"billing/password is encrypted with the key {key_id(ONE)}, which is not"
    ) as it:
        Keyring(TWO).decrypt("billing", "password", envelope)
    assert "ARES_OTEL_CONFIG_KEY" in it.value.message
    assert "ARES_OTEL_CONFIG_OLD_KEYS" in it.value.message
    with pytest.raises(KeyMissing, match="billing/password cannot be encrypted: no encryption key is set"):
        Keyring().encrypt("billing", "password", 1)


@pytest.mark.parametrize(
    "value", [None, 1, "text", {}, {"alg": "AES-256-GCM"}, {"alg": 1, "kid": 2, "nonce": 3, "ct": 4}]
)
def test_what_is_no_envelope_does_not_open(value: object) -> None:
    with pytest.raises(KeyWrong, match="is no AES-256-GCM envelope"):
        ring.decrypt("a", "b", value)


@pytest.mark.parametrize(
    "text",
    [
        ONE.hex(),
        ONE.hex().upper(),
        base64.b64encode(ONE).decode(),
        base64.urlsafe_b64encode(ONE).decode().rstrip("="),
        f" {ONE.hex()}\n",
    ],
)
def test_a_key_is_read_as_hex_and_as_base64(text: str, tmp_path: Path) -> None:
    assert Keyring.from_environ({"ARES_OTEL_CONFIG_KEY": text}).current_id == key_id(ONE)
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    assert Keyring.from_environ({"ARES_OTEL_CONFIG_KEY_FILE": str(file)}).current_id == key_id(ONE)


@settings(max_examples=100, deadline=None)
@given(st.text(string.printable, min_size=1, max_size=100).filter(str.strip))
def test_whatever_a_variable_holds_it_is_a_key_or_an_error_that_names_it_and_not_its_value(text: str) -> None:
    message = ""
    try:
        Keyring.from_environ({"ARES_OTEL_CONFIG_KEY": text})
    except StartError as error:
        message = error.message
    assert not message or message.startswith("ARES_OTEL_CONFIG_KEY ")
    assert len(text.strip()) < 12 or text.strip() not in message


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ARES_OTEL_CONFIG_KEY": "c2hvcnQ="}, "ARES_OTEL_CONFIG_KEY holds 5 bytes"),
        ({"ARES_OTEL_CONFIG_OLD_KEYS": f"{ONE.hex()},oops!"}, r"ARES_OTEL_CONFIG_OLD_KEYS \(key 2 of the list\)"),
        ({"ARES_OTEL_CONFIG_KEY_FILE": "/nowhere/key"}, "ARES_OTEL_CONFIG_KEY_FILE: /nowhere/key cannot be read"),
        ({"ARES_OTEL_CONFIG_KEY": ONE.hex(), "ARES_OTEL_CONFIG_KEY_FILE": "/x"}, "set only one of them"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(environ: dict[str, str], message: str) -> None:
    with pytest.raises(StartError, match=message):
        Keyring.from_environ(environ)


def test_a_key_file_holds_the_current_key_first_and_old_ones_after_it(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{TWO.hex()}\n{ONE.hex()}\n")
    file.chmod(0o600)
    both = Keyring.from_environ({"ARES_OTEL_CONFIG_KEY_FILE": str(file)})
    assert both.key_ids == (key_id(TWO), key_id(ONE))


def test_a_key_file_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "key"
    file.write_text(ONE.hex())
    file.chmod(0o640)
    with caplog.at_level(logging.WARNING):
        Keyring.from_environ({"ARES_OTEL_CONFIG_KEY_FILE": str(file)})
    assert f"{file} can be read by other users" in caplog.text
    assert ONE.hex() not in caplog.text


def test_no_variable_means_no_key() -> None:
    empty = Keyring.from_environ({"ARES_OTEL_CONFIG_KEY": "", "ARES_OTEL_CONFIG_OLD_KEYS": " , "})
    assert empty.current_id is None
    assert empty.key_ids == ()


def test_a_keyring_never_shows_a_key() -> None:
    key = os.urandom(32)
    shown = repr(Keyring(key)) + str(Keyring(key))
    assert key.hex() not in shown
    assert base64.b64encode(key).decode() not in shown
    assert key_id(key) in shown
