"""Any Python object as a value that OpenTelemetry takes: within bounds, and without ever failing."""

from __future__ import annotations

import enum
import numbers
from collections.abc import Mapping, Sequence, Set
from datetime import date, time
from itertools import islice
from typing import Any

from opentelemetry.util.types import AnyValue

MAX_ATTRIBUTES = 100
"""Of one log record. OpenTelemetry's own limit is 128 by default, and what is known about the caller goes on top."""
MAX_VALUES = 1_000
"""In the lists and mappings of one log record."""
MAX_DEPTH = 8
"""Lists and mappings inside each other."""
MAX_TEXT = 16_384
"""Characters of one text, or bytes."""
MAX_ALL_TEXT = 262_144
"""Characters and bytes of the metadata of one log record, short texts on top."""
SHORT_TEXT = 64
"""A text of so many characters is never cut."""
MAX_KEY = 256
"""Characters of a name."""
MAX_LABELS = 64
"""Of one measurement."""
MAX_LABEL_TEXT = 1_024
"""Characters of a label's value."""

CUT = "…"
"""Ends what was cut, or stands for it."""

Label = str | bool | int | float

_INT64 = 1 << 63
_WRITABLE_BITS = 8_192
"""An integer of more bits is not written as decimal digits: that takes quadratic time, and Python refuses it."""


class Converter:
    """Converts the metadata of one log record, and knows how much more of it there may be.

    None, bool, float, bytes, and int of 64 bits stay what they are. Text is text that UTF-8 can hold. Mappings and
    lists (any `Sequence` or `Set`) become dict and list with values of the same kind. An enum is its value, a date or
    time ISO 8601, a larger int its digits, and everything else what `str` makes of it.
    (https://opentelemetry.io/docs/specs/otel/common/#anyvalue)
    """

    __slots__ = ("_text_left", "_values_left", "cut")

    def __init__(self) -> None:
        self.cut = 0
        """How many values, lists, mappings and texts are not there as a whole."""
        self._values_left = MAX_VALUES
        self._text_left = MAX_ALL_TEXT

    def attributes(self, metadata: object) -> dict[str, AnyValue]:
        """The attributes that a mapping becomes; anything else is one attribute `metadata`. None of them is left out
        because another one is large."""
        fields: dict[str, AnyValue] = {}
        if metadata is None:
            return fields
        try:
            if not isinstance(metadata, Mapping):
                return {"metadata": self.value(metadata)}
            for number, (key, value) in enumerate(metadata.items()):
                if number == MAX_ATTRIBUTES:
                    self.cut += 1
                    break
                self._put(fields, key, value, 0)
        except Exception:
            fields["metadata"] = _unprintable(metadata)
        return fields

    def value(self, value: object, depth: int = 0) -> AnyValue:
        """One value.

        Args:
            depth: in how many lists and mappings it is.
        """
        kind = type(value)
        if kind is str:
            return self.text(value)  # type: ignore[arg-type]
        if value is None or kind is bool or kind is float:
            return value  # type: ignore[return-value]
        if kind is int and -_INT64 <= value < _INT64:  # type: ignore[operator]
            return value  # type: ignore[return-value]
        try:
            return self._other(value, depth)
        except Exception:
            return _unprintable(value)

    def text(self, text: str, *, keep_end: bool = False) -> str:
        """The text as UTF-8 can hold it: a surrogate without its pair becomes U+FFFD. Cut where it is too long."""
        limit = max(SHORT_TEXT, min(MAX_TEXT, self._text_left))
        length = len(text)
        if length > limit:
            self.cut += 1
            kept = text[length - limit :] if keep_end else text[:limit]
            self._text_left -= limit
            cut = f"{CUT} ({length} characters)"
            return f"{cut}\n{utf8(kept)}" if keep_end else utf8(kept) + cut
        self._text_left -= length
        return utf8(text)

    def _other(self, value: Any, depth: int) -> AnyValue:
        if isinstance(value, enum.Enum):
            return self.value(value.value, depth + 1) if depth < MAX_DEPTH else self.text(str(value.name))
        if isinstance(value, str):
            return self.text(str.__str__(value))
        if isinstance(value, int):
            return self._integer(int.__index__(value))
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(value)
        if isinstance(value, date | time):
            return self.text(value.isoformat())
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1) if depth < MAX_DEPTH else self._too_deep()
        if isinstance(value, Sequence | Set):
            return self._list(value, depth + 1) if depth < MAX_DEPTH else self._too_deep()
        if isinstance(value, numbers.Integral):
            return self._integer(int(value))
        if isinstance(value, numbers.Real):
            return float(value)
        if isinstance(value, BaseException):
            return self.text(f"{type_name(value)}: {value}")
        return self.text(str.__str__(str(value)))

    def _mapping(self, mapping: Mapping[Any, Any], depth: int) -> dict[str, AnyValue]:
        fields: dict[str, AnyValue] = {}
        for key, value in mapping.items():
            if self._values_left <= 0:
                self.cut += 1
                break
            self._values_left -= 1
            self._put(fields, key, value, depth)
        return fields

    def _put(self, fields: dict[str, AnyValue], key: object, value: object, depth: int) -> None:
        name = key if type(key) is str and len(key) <= MAX_KEY and key.isascii() else self._name(key)
        name = name or "(empty)"  # the SDK leaves out what has no name
        if name in fields:  # two keys that look the same
            self.cut += 1
        fields[name] = self.value(value, depth)

    def _name(self, key: object) -> str:
        try:
            text = utf8(str.__str__(str(key)))
        except Exception:
            text = _unprintable(key)
        if len(text) > MAX_KEY:
            self.cut += 1
            text = text[:MAX_KEY] + CUT
        return text

    def _list(self, values: Sequence[Any] | Set[Any], depth: int) -> list[AnyValue]:
        items: list[AnyValue] = []
        for value in islice(values, MAX_VALUES + 1):
            if self._values_left <= 0:
                self.cut += 1
                items.append(CUT)
                break
            self._values_left -= 1
            items.append(self.value(value, depth))
        return items

    def _integer(self, value: int) -> AnyValue:
        if -_INT64 <= value < _INT64:
            return value
        if value.bit_length() > _WRITABLE_BITS:
            self.cut += 1
            return f"<int of {value.bit_length()} bits>"
        return self.text(str(value))

    def _bytes(self, value: bytes | bytearray | memoryview) -> AnyValue:
        size = value.nbytes if isinstance(value, memoryview) else len(value)
        limit = min(MAX_TEXT, self._text_left)
        if size > limit:
            self.cut += 1
            return f"<{type(value).__name__} of {size} bytes>"
        self._text_left -= size
        return bytes(value)

    def _too_deep(self) -> str:
        self.cut += 1
        return CUT


def labels_of(labels: Mapping[str, object]) -> dict[str, Label]:
    """Attributes of a measurement: text, bool, int and float as they are, anything else as text. A label that is None
    is left out. NaN is text, for it equals nothing, and each would be a series of its own.

    Raises:
        Exception: whatever a mapping raises that fails, or that is none.
    """
    kept: dict[str, Label] = {}
    for key, value in islice(labels.items(), MAX_LABELS):
        name = key if type(key) is str and len(key) <= MAX_KEY and key.isascii() else _label_text(key, MAX_KEY)
        if value is not None:
            kept[name or "(empty)"] = _label(value)
    return kept


def type_name(value: BaseException) -> str:
    """The class of an exception with its module, as the semantic conventions want it for `error.type` and
    `exception.type`. Never raises."""
    kind = type(value)
    try:
        return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    except Exception:
        return "Exception"


def _label(value: object) -> Label:
    kind = type(value)
    if kind is str and len(value) <= MAX_LABEL_TEXT and value.isascii():  # type: ignore[arg-type, attr-defined]
        return value  # type: ignore[return-value]
    if kind is bool or (kind is int and -_INT64 <= value < _INT64) or (kind is float and value == value):  # type: ignore[operator]
        return value  # type: ignore[return-value]
    return _label_text(value, MAX_LABEL_TEXT)


def _label_text(value: object, limit: int) -> str:
    converter = Converter()
    converted = converter.value(value)
    text = converted if isinstance(converted, str) else str(converted)
    return utf8(text if len(text) <= limit else text[:limit] + CUT)


def utf8(text: str) -> str:
    """The text as UTF-8 can hold it: a surrogate without its pair becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _unprintable(value: object) -> str:
    try:
        return f"<{type(value).__module__}.{type(value).__qualname__} that cannot be shown>"
    except Exception:
        return "<something that cannot be shown>"
