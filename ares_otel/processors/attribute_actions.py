"""The actions of the `attributes` and `resource` processors, as the Collector defines them."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from pydantic import BeforeValidator, Field, JsonValue, model_validator

from ares_otel.pipeline.component import ComponentConfig
from ares_otel.processors.regex import Pattern, Regex
from ares_otel.processors.values import Attributes, as_string, find, put, remove, scalar, to_any_value

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,5})?|[+-]?(?:inf|nan)", re.I
)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class Action(ComponentConfig):
    """One action on an attribute list. Which options an action takes is checked; others are an error."""

    key: str = Field(default="", description="The attribute to act upon.")
    action: Annotated[
        Literal["insert", "update", "upsert", "delete", "hash", "extract", "convert"], BeforeValidator(_lower)
    ] = Field(description="What to do; upper case is accepted too.")
    value: JsonValue = Field(default=None, description="The value to set; its type is the type in the configuration.")
    from_attribute: str | None = Field(default=None, description="The attribute whose value is copied.")
    default_value: JsonValue = Field(default=None, description="The value when `from_attribute` does not exist.")
    pattern: Regex | None = Field(
        default=None, description="Expression on keys (delete, hash) or on the value (extract)."
    )
    converted_type: Literal["int", "double", "string"] | None = Field(default=None, description="Type to convert to.")

    @model_validator(mode="after")
    def _options_fit_the_action(self) -> Self:
        sources = {"value", "from_attribute", "default_value"}
        allowed, needed = {
            "insert": (sources, "key"),
            "update": (sources, "key"),
            "upsert": (sources, "key"),
            "delete": ({"pattern"}, ""),
            "hash": ({"pattern"}, ""),
            "extract": ({"pattern"}, "pattern"),
            "convert": ({"converted_type"}, "converted_type"),
        }[self.action]
        given = {name for name in (*sources, "pattern", "converted_type") if getattr(self, name) is not None}
        if extra := sorted(given - allowed):
            raise ValueError(f"The action {self.action} does not use {' and '.join(extra)}; remove it.")
        if self.action in ("delete", "hash"):
            if not self.key and self.pattern is None:
                raise ValueError(f"The action {self.action} needs key or pattern.")
        elif not self.key:
            raise ValueError(f"The action {self.action} needs key.")
        if needed not in ("", "key") and getattr(self, needed) is None:
            raise ValueError(f"The action {self.action} needs {needed}.")
        if allowed == sources:
            if not given:
                raise ValueError(f"The action {self.action} needs value, from_attribute or default_value.")
            if {"value", "from_attribute"} <= given:
                raise ValueError(f"The action {self.action} takes value or from_attribute, not both.")
            to_any_value(self.value)
            to_any_value(self.default_value)
        if self.action == "extract" and self.pattern is not None:
            names = Pattern(self.pattern).names
            if not names or "" in names:
                raise ValueError("The pattern of an extract action needs groups, and a name for each: (?P<name>...).")
        return self


Work = Callable[[Attributes], bool]


def compile_actions(actions: list[Action]) -> Work:
    """One function that applies all actions, in order, to an attribute list and returns whether it changed."""
    steps = [_MAKERS[action.action](action) for action in actions]

    def apply(attributes: Attributes) -> bool:
        changed = False
        for step in steps:
            changed = step(attributes) or changed
        return changed

    return apply


def _setter(action: Action) -> Work:
    fixed = action.value if action.value is not None else action.default_value
    constant = None if fixed is None else to_any_value(fixed)
    key, source, kind = action.key, action.from_attribute, action.action

    def step(attributes: Attributes) -> bool:
        value = find(attributes, source) if source is not None else None
        value = value if value is not None else constant
        if value is None or (kind != "upsert" and (find(attributes, key) is None) != (kind == "insert")):
            return False
        copy = AnyValue()
        copy.CopyFrom(value)
        return put(attributes, key, copy)

    return step


def _chosen(action: Action) -> Callable[[str], bool]:
    pattern = Pattern(action.pattern) if action.pattern is not None else None
    key = action.key
    return lambda name: (name == key and bool(key)) or (pattern is not None and pattern.matches(name))


def _delete(action: Action) -> Work:
    chosen = _chosen(action)

    def step(attributes: Attributes) -> bool:
        names = {attribute.key for attribute in attributes if chosen(attribute.key)}
        for name in names:
            remove(attributes, name)
        return bool(names)

    return step


def _hash(action: Action) -> Work:
    chosen = _chosen(action)

    def step(attributes: Attributes) -> bool:
        changed = False
        for attribute in attributes:
            if chosen(attribute.key):
                attribute.value.CopyFrom(AnyValue(string_value=hash_value(attribute.value)))
                changed = True
        return changed

    return step


def hash_value(value: AnyValue) -> str:
    """SHA-256 in hex: of the UTF-8 text; of one byte for a bool; of 8 bytes, little-endian, for a number; of the text
    form for anything else. An empty text stays empty (the Collector's attraction hasher)."""
    match scalar(value):
        case bool() as flag:
            content = bytes([flag])
        case int() as number:
            content = struct.pack("<q", number)
        case float() as number:
            content = struct.pack("<d", number)
        case _:
            content = as_string(value).encode()
    return hashlib.sha256(content).hexdigest() if content else ""


def _extract(action: Action) -> Work:
    assert action.pattern is not None
    pattern, key = Pattern(action.pattern), action.key

    def step(attributes: Attributes) -> bool:
        text = scalar(find(attributes, key))
        groups = pattern.named_groups(text) if isinstance(text, str) else None
        changed = False
        for name, found in (groups or {}).items():
            changed = put(attributes, name, AnyValue(string_value=found)) or changed
        return changed

    return step


def _convert(action: Action) -> Work:
    key, target = action.key, action.converted_type

    def step(attributes: Attributes) -> bool:
        changed = False
        for attribute in attributes:
            if attribute.key == key and (converted := convert_value(attribute.value, target)) is not None:
                changed = changed or converted != attribute.value
                attribute.value.CopyFrom(converted)
        return changed

    return step


def convert_value(value: AnyValue, target: str | None) -> AnyValue | None:
    """The value in another type; None when it cannot be: the attribute then stays as it is."""
    content = scalar(value)
    if target == "string":
        return None if content is None else AnyValue(string_value=as_string(value))
    if isinstance(content, str):
        content = _number(content, target)
    if not isinstance(content, (bool, int, float)):
        return None
    if target == "double":
        return AnyValue(double_value=float(content))
    if isinstance(content, float) and not math.isfinite(content):
        return None
    whole = int(content)
    return AnyValue(int_value=whole) if -(2**63) <= whole < 2**63 else None


def _number(text: str, target: str | None) -> int | float | None:
    if target == "int":
        return int(text) if _INTEGER.fullmatch(text) else None
    return float(text) if _NUMBER.fullmatch(text) else None


_MAKERS: dict[str, Callable[[Action], Work]] = {
    "insert": _setter,
    "update": _setter,
    "upsert": _setter,
    "delete": _delete,
    "hash": _hash,
    "extract": _extract,
    "convert": _convert,
}
