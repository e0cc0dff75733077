"""What SQL says about one value: an attribute at one place, or a field.

A value is in jsonb. Where the list that it stands in has a protobuf encoding beside it (`docs/lossless.md`), that says
what it is: bytes, NaN and infinities are texts in jsonb, and a large double has no fraction there. `otlp_attribute`
looks into it (`migrations/021_trace_search.sql`), and is asked about such rows only.

Every condition may be NULL where it is not true; who negates it must mind that.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, permutations, product
from typing import Any, Protocol

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from ares_otel.query.search.constants import Constant, comparable, decimal_of
from ares_otel.query.search.expression import Refused
from ares_otel.query.search.fields import TEXTS, Holds, SpanField
from ares_otel.storage.partitions.seal import DURATION_BUCKET
from ares_otel.storage.rows.restore_values import any_value
from ares_otel.storage.rows.values import json_value

MAX_ORDERS = 120
"""Orders of the keys of an object that is searched for: OTLP gives them no meaning, an encoding has one."""

_STRING, _INT, _DOUBLE, _BYTES = "'\\x0a'", "'\\x18'", "'\\x21'", "'\\x3a'"
"""First byte of an AnyValue: its field's tag."""

_ID_COLUMNS = {"traceID": "trace_id", "spanID": "span_id", "parentSpanID": "parent_span_id"}


class Parameters:
    """The values that a statement is bound to, in order."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self._known: dict[tuple[str, object], str] = {}

    def add(self, value: object, type_: str) -> str:
        """The placeholder of a value, cast to a type of PostgreSQL."""
        known = (type_, value) if not isinstance(value, list) else None
        if known is not None and known in self._known:
            return self._known[known]
        self.values.append(value)
        made = f"${len(self.values)}::{type_}"
        if known is not None:
            self._known[known] = made
        return made

    def text(self, value: str) -> str:
        """A text; NUL, which PostgreSQL cannot hold, is U+FFFD, as it is in what is stored."""
        return self.add(stored(value), "text")

    def number(self, value: int | float) -> str:
        """A number that is not NaN."""
        return f"({self.add(decimal_of(value), 'text')})::numeric"


def stored(text: str) -> str:
    """A text as it is stored."""
    return text.replace("\0", "\ufffd")


class Subject(Protocol):
    """One value."""

    def exists(self) -> str: ...
    def equal(self, constants: Sequence[Constant]) -> str: ...
    def ordered(self, operator: str, constant: Constant) -> str: ...
    def text(self) -> str:
        """The text that it is, or NULL."""

    def number(self) -> str:
        """The number that it is, or NULL; NaN is none."""

    def boolean(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where attributes stand."""

    shown: str
    """The jsonb object."""
    message: str
    """The protobuf message that repeats them, where there is one."""
    number: int
    """The field that does."""
    raw: str
    """The column that is NULL where jsonb says everything."""


class Held:
    """An attribute at one place."""

    def __init__(self, place: Place, key: str, parameters: Parameters) -> None:
        self._place = place
        self._key = stored(key)
        self._parameters = parameters
        name = parameters.text(key)
        self._value = f"({place.shown} -> {name})"
        self._text = f"({place.shown} ->> {name})"
        self._exact = f"{place.raw} IS NULL"
        encoded = parameters.add(self._key.encode(), "bytea")
        self._encoded = f"otlp_attribute({place.message}, {place.number}, {encoded})"
        self._kind = f"substr({self._encoded}, 1, 1)"

    def exists(self) -> str:
        return f"{self._place.shown} ? {self._parameters.text(self._key)}"

    def equal(self, constants: Sequence[Constant]) -> str:
        return any_of(
            self._holds([form for form, kind in forms_of(constants) if kind == wanted], self._is(wanted))
            for wanted in ("string", "number", "int", "double", "bool")
        )

    def has(self, value: Any, *, loose: bool) -> str:
        """Whether it is exactly this value; a loose text is also what else is written so."""
        forms = wanted_forms(value, loose=loose)
        return any_of(self._holds([form], self._is_exactly(kind, form, value)) for form, kind in forms)

    def ordered(self, operator: str, constant: Constant) -> str:
        ways = []
        if constant.text is not None:
            text = self._parameters.text(constant.text)
            ways.append(f'{self.text()} COLLATE "C" {operator} {text}')
        integer, double = constant.integer, constant.double
        if integer is not None and integer == double:
            ways.append(f"{self.number()} {operator} {self._parameters.number(integer)}")
        else:
            for number, kind in ((integer, "int"), (double, "double")):
                if number is not None and comparable(number):
                    ways.append(f"{self._is(kind)} AND {self.number()} {operator} {self._parameters.number(number)}")
        return any_of(ways)

    def text(self) -> str:
        return f"CASE WHEN jsonb_typeof({self._value}) = 'string' AND {self._is('string')} THEN {self._text} END"

    def number(self) -> str:
        value = f"({self._value})::numeric"
        large = f"abs({value}) >= 1e16 AND abs({value}) < 9223372036854775808"
        return (
            f"CASE jsonb_typeof({self._value}) "
            f"WHEN 'number' THEN CASE WHEN {self._exact} THEN {value} "
            f"WHEN {large} AND {self._kind} = {_DOUBLE} THEN ({value})::float8::int8::numeric ELSE {value} END "
            f"WHEN 'string' THEN CASE WHEN NOT ({self._exact}) AND {self._text} IN ('Infinity', '-Infinity') "
            f"AND {self._kind} = {_DOUBLE} THEN {self._text}::numeric END END"
        )

    def boolean(self) -> str:
        return f"CASE jsonb_typeof({self._value}) WHEN 'boolean' THEN ({self._value})::boolean END"

    def _holds(self, forms: Sequence[str], check: str) -> str:
        """Whether jsonb has one of these values."""
        if not forms:
            return ""
        objects = [object_of(self._key, form) for form in forms]
        one = self._parameters.add(objects[0], "text::jsonb") if len(objects) == 1 else None
        contains = one or f"ANY({self._parameters.add(objects, 'text[]::jsonb[]')})"
        return f"{self._place.shown} @> {contains}" + (f" AND {check}" if check else "")

    def _is(self, kind: str) -> str:
        """Whether it is of a type, once jsonb's type is right; '' where that says it."""
        if kind == "string":
            return f"({self._exact} OR {self._kind} = {_STRING})"
        if kind == "int":
            return f"CASE WHEN {self._exact} THEN strpos({self._text}, '.') = 0 ELSE {self._kind} = {_INT} END"
        if kind == "double":
            return f"CASE WHEN {self._exact} THEN strpos({self._text}, '.') > 0 ELSE {self._kind} = {_DOUBLE} END"
        if kind == "bytes":
            return f"(NOT ({self._exact}) AND {self._kind} = {_BYTES})"
        return ""

    def _is_exactly(self, kind: str, form: str, value: Any) -> str:
        if kind == "same":  # equal as jsonb
            return f"{self._value} = {self._parameters.add(form, 'text::jsonb')}"
        if kind == "structure":  # to the digit, for 1 is not 1.0; or to the byte
            shown = json_value(_any_values(value)[0])[1]
            same = f"{self._value}::text = ({self._parameters.add(form, 'text::jsonb')})::text" if shown else "false"
            encodings = self._parameters.add(encodings_of(value), "bytea[]")
            return f"CASE WHEN {self._exact} THEN {same} ELSE {self._encoded} = ANY({encodings}) END"
        return self._is(kind)


class FieldValue:
    """A field."""

    def __init__(self, field: SpanField, parameters: Parameters) -> None:
        self._field = field
        self._parameters = parameters

    def exists(self) -> str:
        return f"{self._field.sql} IS NOT NULL"

    def equal(self, constants: Sequence[Constant]) -> str:
        if self._field.holds in TEXTS:
            texts = [stored(self._field.same_text(one.text)) for one in constants if one.text is not None]
            by_id = (self._field.level, self._field.holds) == ("span", Holds.ID)
            return self._is_id(texts) if by_id else self._is_one(texts)
        numbers = [decimal_of(constant.integer) for constant in constants if constant.integer is not None]
        return any_of(
            [f"{self._field.sql} = ANY({self._parameters.add(numbers, 'text[]::numeric[]')})"] * bool(numbers)
        )

    def ordered(self, operator: str, constant: Constant) -> str:
        if self._field.holds in TEXTS:
            return f'{self._field.sql} COLLATE "C" {operator} {self._parameters.text(constant.text or "")}'
        number = int(constant.integer or 0)
        if (self._field.level, self._field.name) != ("span", "duration"):
            return f"{self._field.sql} {operator} {self._parameters.number(number)}"
        bound = self._parameters.add(number, "bigint")
        # The second is what the index of sealed partitions holds: see `storage/partitions/seal.py`.
        given = DURATION_BUCKET.replace("duration_ns", bound)
        held = DURATION_BUCKET.replace("duration_ns", "s.duration_ns")
        return f"s.duration_ns {operator} {bound} AND {held} {operator[0]}= {given}"

    def text(self) -> str:
        return self._field.sql if self._field.holds in TEXTS else "NULL::text"

    def number(self) -> str:
        return "NULL::numeric" if self._field.holds in TEXTS else f"({self._field.sql})::numeric"

    def boolean(self) -> str:
        return "NULL::boolean"

    def _is_one(self, texts: Sequence[str]) -> str:
        if len(texts) == 1:
            return f"{self._field.sql} = {self._parameters.add(texts[0], 'text')}"
        return f"{self._field.sql} = ANY({self._parameters.add(list(texts), 'text[]')})" if texts else "false"

    def _is_id(self, texts: Sequence[str]) -> str:
        """Ids of spans are compared as they are stored, which an index may have."""
        wanted: list[object] = [text for text in texts if len(text) == self._field.digits and _hexadecimal(text)]
        column = _ID_COLUMNS[self._field.name]
        type_ = "text[]::uuid[]" if column == "trace_id" else "bytea[]"
        if column != "trace_id":
            wanted = [bytes.fromhex(str(text)) for text in wanted]
        return f"s.{column} = ANY({self._parameters.add(wanted, type_)})" if wanted else "false"


def forms_of(constants: Iterable[Constant]) -> list[tuple[str, str]]:
    """What an equal attribute shows, for each reading of each constant, and its type (`number`: int or double)."""
    forms: list[tuple[str, str]] = []
    for constant in constants:
        if constant.text is not None:
            forms.append((json_of(constant.text), "string"))
        if constant.boolean is not None:
            forms.append((json_of(constant.boolean), "bool"))
        whole = _whole(constant.integer)
        double = constant.double if comparable(constant.double) else None
        if whole is not None and double is not None and not math.isinf(double) and _same(whole, double):
            forms.append((str(whole), "number"))
            continue
        if whole is not None:
            forms.append((str(whole), "int"))
        if double is not None:
            forms.append((json_of(double), "double"))
    return forms


def wanted_forms(value: Any, *, loose: bool) -> list[tuple[str, str]]:
    """The JSON that an attribute with this value shows, and what else must hold (`Held._is_exactly`)."""
    if isinstance(value, bool):
        return [(json_of(value), "bool")]
    if isinstance(value, (int, float)):
        whole = _whole(value)
        if loose and whole is not None and abs(whole) < 2**53:
            return [(str(whole), "number")]
        return [(json_of(value), "int" if isinstance(value, int) else "double")]
    if isinstance(value, bytes):
        return [(json_of(b64encode(value).decode()), "bytes")]
    if not isinstance(value, str):
        return [(json_of(value), "structure")]
    if not loose:
        return [(json_of(value), "string")]
    forms = [(json_of(value), "same")]
    try:
        other = orjson.loads(value)
        if isinstance(other, (bool, int, list, dict)) or (isinstance(other, float) and math.isfinite(other)):
            forms.append((json_of(other), "same"))
    except (ValueError, RecursionError):
        pass
    return forms


def json_of(value: Any) -> str:
    """A value as the row encoder shows it."""
    return orjson.dumps(_shown(value)).decode()


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return stored(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {stored(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value


def encodings_of(value: Any) -> list[bytes]:
    """The protobuf encodings of a value, in every order of its keys: at most `MAX_ORDERS`, see `orders_of`."""
    return [made.SerializeToString() for made in _any_values(value)]


def orders_of(value: Any) -> int:
    """How many encodings a value has, counted up to some more than `MAX_ORDERS`, and without making one."""
    orders = 1
    if isinstance(value, dict):
        for keys in range(2, len(value) + 1):
            orders *= keys
            if orders > MAX_ORDERS:
                return orders
        value = value.values()
    elif not isinstance(value, list):
        return 1
    for item in value:
        orders *= orders_of(item)
        if orders > MAX_ORDERS:
            break
    return orders


def _any_values(value: Any) -> list[AnyValue]:
    if isinstance(value, list):
        choices = product(*(_any_values(item) for item in value))
        return [AnyValue(array_value=ArrayValue(values=chosen)) for chosen in islice(choices, MAX_ORDERS + 1)]
    if isinstance(value, dict):
        pairs = [[KeyValue(key=key, value=one) for one in _any_values(item)] for key, item in value.items()]
        orders = (order for chosen in product(*pairs) for order in permutations(chosen))
        return [AnyValue(kvlist_value=KeyValueList(values=order)) for order in islice(orders, MAX_ORDERS + 1)]
    if isinstance(value, bytes):
        return [AnyValue(bytes_value=value)]
    return [any_value(value)]


def object_of(key: str, form: str) -> str:
    """A JSON object of one key."""
    return f"{{{json_of(key)}:{form}}}"


def any_of(ways: Iterable[str]) -> str:
    """At least one of the conditions; '' and no condition at all are never true."""
    given = [way for way in ways if way]
    if not given:
        return "false"
    return f"({given[0]})" if len(given) == 1 else "(" + " OR ".join(f"({way})" for way in given) + ")"


def _whole(number: int | float | None) -> int | None:
    if isinstance(number, float):
        return int(number) if math.isfinite(number) and number == math.trunc(number) and abs(number) <= 2**63 else None
    return number


def _same(whole: int, double: float) -> bool:
    """Whether jsonb shows both as the same number."""
    return whole == double and str(whole) == decimal_of(double).removesuffix(".0") and abs(whole) < 2**53


def _hexadecimal(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)
