"""JSON values of settings: read strictly, written exactly, compared as jsonb compares them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NoReturn

import orjson

from ares_otel.control.config_values import same_json as same_json
from ares_otel.query.rows import Json

MAX_BYTES = 1024 * 1024
"""Of a value, as text and as PostgreSQL writes it out."""
MAX_DEPTH = 100
MAX_DIGITS = 1000
"""Of one number, written out without an exponent: 1e999 has 1000."""
_INT64 = 2**63


class BadJson(ValueError):
    """What is wrong, as a sentence; `field` is the name of a field that is there twice, else empty."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def parse_json(data: bytes) -> Any:
    """The JSON document of a request.

    Numbers that neither a double nor 64 bits hold exactly are `Decimal`: jsonb keeps every digit, and so must we.

    Raises:
        BadJson: it is not JSON in UTF-8, a name is in an object twice, a text holds NUL or half a surrogate pair, it is
            nested too deep, or its numbers are longer than PostgreSQL should write out.
    """
    written = 0

    def number(text: str) -> Any:
        nonlocal written
        exact = Decimal(text)
        length = abs(exact.adjusted()) + len(exact.as_tuple().digits)
        written += length
        if length > MAX_DIGITS or written > MAX_BYTES:
            raise BadJson(f"A number has more than {MAX_DIGITS} digits when it is written out.")
        return _plain(text, exact)

    def whole(text: str) -> Any:
        return int(text) if len(text) < 19 else number(text)

    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_float=number,
            parse_int=whole,
            parse_constant=_refuse_constant,
        )
    except BadJson:
        raise
    except UnicodeDecodeError:
        raise BadJson("The body is not text in UTF-8.") from None
    except json.JSONDecodeError as error:
        raise BadJson(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except ArithmeticError:
        raise BadJson(f"A number has more than {MAX_DIGITS} digits when it is written out.") from None
    except RecursionError:
        raise BadJson(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    _check(document)
    return document


def dump_json(value: Any) -> Json:
    """The value as JSON text, to the last digit. Raises BadJson where it is no JSON that a jsonb can hold."""
    try:
        return Json(orjson.dumps(value, default=_exact).decode())
    except TypeError:
        raise BadJson("The value is not JSON.") from None


def load_json(text: str) -> Any:
    """The value of JSON text that the database gave."""
    return json.loads(
        text, parse_float=_number, parse_int=lambda digits: int(digits) if len(digits) < 19 else _number(digits)
    )


def text_problem(text: str) -> str | None:
    """Why PostgreSQL cannot hold the text, or None."""
    if "\0" in text:
        return "must not contain the character NUL, which PostgreSQL cannot hold"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "must not contain half a surrogate pair"
    return None


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def _number(text: str) -> Any:
    return _plain(text, Decimal(text))


def _plain(text: str, exact: Decimal) -> Any:
    """The number as int or float where that loses nothing."""
    if exact == exact.to_integral_value() and "." not in text and -_INT64 <= exact < _INT64 and "e" not in text.lower():
        return int(exact)
    plain = float(text)
    return plain if exact == Decimal(repr(plain)) else exact


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson(f"The body holds {name}, which is not JSON.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadJson("The name is in one object more than once; give it once.", name)
            seen.add(name)
    return found


def _nodes(value: Any) -> Iterable[tuple[Any, int]]:
    """Every value and every name in it, with its depth."""
    waiting = [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if isinstance(node, dict):
            waiting += [(name, depth) for name in node]
            waiting += [(item, depth + 1) for item in node.values()]
        elif isinstance(node, list):
            waiting += [(item, depth + 1) for item in node]


def _check(document: Any) -> None:
    for node, depth in _nodes(document):
        if depth > MAX_DEPTH:
            raise BadJson(f"The body is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(node, str) and (problem := text_problem(node)):
            raise BadJson(f"A text {problem}.")
