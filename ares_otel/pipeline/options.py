"""The options of one component: from plain data to its pydantic config, with errors that point into the file."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ares_otel.pipeline.component import ComponentConfig
from ares_otel.pipeline.problem import Path, Problem, dotted, suggestion
from ares_otel.pipeline.yaml_source import Source

_WORDS = {
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a string",
    "list_type": "must be a list, for example [a, b]",
    "tuple_type": "must be a list, for example [a, b]",
    "dict_type": "must be a mapping, `name: value` lines below it",
    "model_type": "must be a mapping, `name: value` lines below it",
    "model_attributes_type": "must be a mapping, `name: value` lines below it",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
"""What is said about pydantic's types of errors (pydantic, "Validation Errors"); others keep pydantic's text."""

ConfigT = TypeVar("ConfigT", bound=ComponentConfig)


def parse_options(model: type[ConfigT], source: Source, path: Path, data: Any) -> ConfigT | None:
    """Validates `data`, which stands at `path` in the source. None when there were problems; they are then in
    `source.problems`.

    Args:
        data: a mapping, or None for a component without options.
    """
    if data is None:
        data = {}
    if not isinstance(data, dict):
        place = source.place(path)
        source.problems.append(Problem(place, f"{dotted(path)}: options are written as `name: value` lines below it."))
        return None
    data = _without_nulls(model, data)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    restored = _restore_strings(source, path, data, errors)
    if restored is not data:
        try:
            return model.model_validate(restored)
        except ValidationError as error:
            errors = error.errors(include_url=False)
    for details in errors:
        problem = _problem(model, source, path, details)
        if problem is not None:
            source.problems.append(problem)
    return None


def _without_nulls(model: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """An option without a value means its default, as in the Collector; a block without content (`grpc:` and nothing
    behind it) is the block with all its defaults."""
    fields = {info.alias or name: info for name, info in model.model_fields.items()}
    result = {}
    for name, value in data.items():
        block = _block(fields[name].annotation) if name in fields else None
        if block is not None and (value is None or isinstance(value, dict)):
            value = _without_nulls(block, value or {})
        if value is not None or name not in fields:
            result[name] = value
    return result


def _block(annotation: Any) -> type[BaseModel] | None:
    """The model of an option that is one nested block, also an optional one; None for scalars, lists and maps."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next((block for inner in get_args(annotation) if (block := _block(inner)) is not None), None)
    return None


def _restore_strings(source: Source, path: Path, data: dict[str, Any], errors: list[ErrorDetails]) -> dict[str, Any]:
    """A variable whose text looks like a number is a number, unless the option wants a string: then it is the text as
    it was (a password `0123` stays `0123`)."""
    for details in errors:
        where = _known_part(source, path, details["loc"])
        if details["type"] == "string_type" and where in source.raw:
            data = _with_value(data, where[len(path) :], source.raw[where])
    return data


def _with_value(data: Any, way: Path, value: str) -> Any:
    if not way:
        return value
    copy = data.copy()
    copy[way[0]] = _with_value(copy[way[0]], way[1:], value)
    return copy


def _known_part(source: Source, path: Path, loc: tuple[int | str, ...]) -> Path:
    """The part of pydantic's location that stands in the file; names of validators and union members do not."""
    for part in loc:
        if (*path, part) in source.places:
            path = (*path, part)
    return path


def _problem(model: type[BaseModel], source: Source, path: Path, details: ErrorDetails) -> Problem | None:
    loc = details["loc"]
    where = _known_part(source, path, loc)
    if source.is_failed(where):
        return None
    if details["type"] == "extra_forbidden":
        known = option_names(model, loc[:-1])
        text = f"{dotted(where)}: unknown option; {suggestion(str(loc[-1]), known, 'options')}"
        return Problem(source.place(where, key=True), text)
    if details["type"] == "missing":
        missing = (*where, loc[-1])
        return Problem(source.place(where, key=True), f"{dotted(missing)}: this option is required.")
    words = _WORDS.get(details["type"])
    message = words.format_map(details.get("ctx", {})) if words else details["msg"]
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    given = details["input"]
    secret = model.model_config.get("hide_input_in_errors") or source.is_expanded(where)
    if isinstance(given, str | int | float) and not secret and details["type"] != "value_error":
        shown = str(given).lower() if isinstance(given, bool) else str(given)  # true and false as YAML has them
        message += f", not {shown[:60]!r}"
    if details["type"] == "string_type" and isinstance(given, int | float):
        message += "; write it in quotes"
    return Problem(source.place(where), f"{dotted(where)}: {message[:1].lower()}{message[1:]}.")


def option_names(model: type[BaseModel], loc: tuple[int | str, ...] = ()) -> set[str]:
    """Names of the options of a config, or of the nested one at `loc`, as they are written in the file."""
    models = [model]
    for part in loc:
        found = [
            nested
            for candidate in models
            for name, info in candidate.model_fields.items()
            if part in (name, info.alias)
            for nested in _models_in(info.annotation)
        ]
        models = found or models  # a list index or the name of a union member: stay
    return {info.alias or name for one in models for name, info in one.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
