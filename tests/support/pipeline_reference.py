"""The component reference of docs/pipeline.md, made from the components' own pydantic models.

    python -m tests.support.pipeline_reference      # writes it into the page

A test compares the page with what this module makes, so the page cannot miss or invent an option.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, JsonValue, SecretStr
from pydantic.fields import FieldInfo

from ares_otel.cli.components import COMPONENTS
from ares_otel.pipeline.component import ConnectorFactory, ExporterFactory, Factory
from ares_otel.pipeline.config import ServiceTelemetry
from ares_otel.pipeline.duration import parse_duration

PAGE = Path(__file__).parents[2] / "docs" / "pipeline.md"
BEGIN, END = "<!-- reference: begin -->\n", "<!-- reference: end -->\n"


def reference() -> str:
    """All components with all their options, in Markdown."""
    parts = [_component(factory) for factory in sorted(COMPONENTS, key=lambda one: (_ORDER[one.kind.value], one.type))]
    parts.append(f"### service.telemetry\n\n{_table(ServiceTelemetry)}")
    return "\n".join(parts)


def options(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every option with its dotted name: nested blocks first as themselves, `[]` for the items of a list."""
    for name, info in model.model_fields.items():
        dotted = f"{prefix}{info.alias or name}"
        yield dotted, info
        for nested, sign in _blocks(info.annotation):
            yield from options(nested, f"{dotted}{sign}.")


_TYPES = {
    int: "integer",
    float: "number",
    bool: "boolean",
    str: "text",
    SecretStr: "text, kept secret",
    Path: "path",
    Any: "any",
    JsonValue: "any",
}
_ORDER = {"receivers": 0, "processors": 1, "exporters": 2, "connectors": 3, "extensions": 4}


def _component(factory: Factory) -> str:
    signals = ", ".join(sorted(signal.name for signal in factory.signals))
    makes = ""
    if isinstance(factory, ConnectorFactory):
        makes = f"; makes {', '.join(sorted(signal.name for signal in factory.emits))}"
    durable = isinstance(factory, ExporterFactory) and factory.durable
    lines = [
        f"### {factory.kind.value}: {factory.type}\n",
        f"{_sentence(inspect.getdoc(factory.config) or '')}\n",
        f"Signals: {signals}{makes}.{' Durable: decides the answer of its pipelines.' if durable else ''}\n",
    ]
    if factory.config.model_fields:
        lines.append(_table(factory.config))
    return "\n".join(lines)


def _table(model: type[BaseModel]) -> str:
    rows = [
        f"| `{name}` | {_type(info)} | {_default(info)} | {_cell(info.description or _about(info))} |"
        for name, info in options(model)
    ]
    return "\n".join(["| option | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _about(info: FieldInfo) -> str:
    """A block without a description of its own is described by its class."""
    return next((_sentence(inspect.getdoc(block) or "") for block, _ in _blocks(info.annotation)), "")


def _sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _blocks(annotation: Any, sign: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, sign
        return
    origin = get_origin(annotation)
    many = origin is not None and origin not in (Union, UnionType, Annotated, Literal)
    for inner in get_args(annotation) if origin is not Literal else ():
        yield from _blocks(inner, "[]" if many else sign)


def _type(info: FieldInfo) -> str:
    if any(isinstance(item, BeforeValidator) and item.func is parse_duration for item in info.metadata):
        return "duration"
    return _type_name(info.annotation)


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if any(isinstance(item, BeforeValidator) and item.func is parse_duration for item in arguments[1:]):
            return "duration"
        return _type_name(arguments[0])
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type_name(one) for one in arguments if one is not NoneType))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"map of {_type_name(arguments[1])}"
    if origin is not None:
        return f"list of {_type_name(next((one for one in arguments if one is not Ellipsis), str))}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " \\| ".join(f"`{member.value}`" for member in annotation)
    return _TYPES[annotation]


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel) or value is None or value == "":
        return ""
    if isinstance(value, float) and _type(info) == "duration":
        minutes = int(value) // 60
        return f"`{minutes}m`" if minutes and value == minutes * 60 else f"`{value:g}s`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, Mapping):
        return "`{}`" if not value else f"`{dict(value)}`"
    if isinstance(value, tuple | list | set | frozenset):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def written(page: str) -> str:
    """The page with the reference of today."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
