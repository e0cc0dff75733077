"""From a condition to a function: recursive descent over the tokens, in the grammar below.

    condition  = and { "or" and }
    and        = term { "and" term }
    term       = [ "not" ] ( "true" | "false" | function | "(" condition ")" | comparison )
    comparison = value ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value
    value      = product { ( "+" | "-" ) product }
    product    = factor { ( "*" | "/" ) factor }
    factor     = [ "-" ] ( string | int | float | bytes | "true" | "false" | "nil" | ENUM | path | "(" value ")" )
    path       = name { "." name } { "[" ( string | int ) "]" }
    function   = Name "(" [ argument { "," argument } ] ")"

It is the part of the OpenTelemetry Transformation Language that conditions need (pkg/ottl/LANGUAGE.md).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from ares_otel.processors.conditions.evaluate import (
    COMPARISONS,
    calculation,
    compare,
    has_attribute,
    indexed,
    is_match,
)
from ares_otel.processors.conditions.paths import Context, Env, Getter
from ares_otel.processors.conditions.tokens import ConditionError, Token, tokenize
from ares_otel.processors.message_processor import data_points
from ares_otel.processors.regex import Pattern
from ares_otel.processors.values import find, scalar

Condition = Callable[[Env], bool]
"""Whether the item is meant. Raises `EvaluationError` for data that the condition cannot be applied to."""

MAX_NESTING = 32


def compile_condition(text: str, context: Context) -> Condition:
    """The condition as a function, which raises `EvaluationError` for data that it cannot be applied to.

    Raises:
        ConditionError: the text is not a condition; the message names the position and, for a wrong name, the nearest
            one that exists.
    """
    return _Parser(tokenize(text), context).parse()


class _Parser:
    def __init__(self, tokens: list[Token], context: Context) -> None:
        self._tokens = tokens
        self._index = 0
        self._nesting = 0
        self._context = context

    # --- the grammar

    def parse(self) -> Condition:
        condition = self._condition()
        if self._peek.kind != "end":
            raise self._unexpected("and, or, or the end of the condition")
        return condition

    def _condition(self) -> Condition:
        self._enter()
        terms = [self._and()]
        while self._take_word("or"):
            terms.append(self._and())
        self._nesting -= 1
        return terms[0] if len(terms) == 1 else lambda env: any(term(env) for term in terms)

    def _and(self) -> Condition:
        terms = [self._term()]
        while self._take_word("and"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else lambda env: all(term(env) for term in terms)

    def _term(self) -> Condition:
        if self._take_word("not"):
            inner = self._positive_term()
            return lambda env: not inner(env)
        return self._positive_term()

    def _positive_term(self) -> Condition:
        start = self._index
        token = self._peek
        if token.kind == "name" and self._peek_at(1).text == "(":
            return self._function()
        if token.kind == "name" and token.text in ("true", "false"):
            self._index += 1
            if self._peek.text not in COMPARISONS:
                return lambda env: token.text == "true"
            self._index = start
        if self._at_operator("(") and self._holds_condition():
            self._index += 1
            inner = self._condition()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        left = self._value()
        sign = self._peek.text
        if self._peek.kind != "operator" or sign not in COMPARISONS:
            raise self._unexpected("a comparison (==, !=, <, <=, >, >=)")
        self._index += 1
        right = self._value()
        return lambda env: compare(sign, left(env), right(env))

    def _value(self) -> Getter:
        self._enter()
        result = self._chain(("+", "-"), self._product)
        self._nesting -= 1
        return result

    def _product(self) -> Getter:
        return self._chain(("*", "/"), self._factor)

    def _chain(self, signs: tuple[str, str], operand: Callable[[], Getter]) -> Getter:
        first = operand()
        rest: list[tuple[str, Getter]] = []
        while (sign := self._peek.text) in signs and self._peek.kind == "operator":
            self._index += 1
            rest.append((sign, operand()))
        return calculation(first, rest) if rest else first

    def _factor(self) -> Getter:
        if self._at_operator("-"):
            self._index += 1
            return calculation(lambda env: 0, [("-", self._factor_positive())])
        return self._factor_positive()

    def _factor_positive(self) -> Getter:
        token = self._peek
        if self._at_operator("("):
            self._index += 1
            inner = self._value()
            self._expect(")")
            return inner
        if token.kind == "name":
            return self._named()
        if token.kind in ("operator", "end"):
            raise self._unexpected("a value")
        self._index += 1
        constant = _literal(token)
        return lambda env: constant

    def _named(self) -> Getter:
        """A word: `true`, `false`, `nil`, an enum or a path."""
        token = self._next()
        constants: dict[str, Any] = {"true": True, "false": False, "nil": None, **self._context.enums}
        if token.text in constants:
            constant = constants[token.text]
            return lambda env: constant
        path = token.text
        while self._at_operator("."):
            self._index += 1
            if self._peek.kind != "name":
                raise self._unexpected("a name after the dot")
            path = f"{path}.{self._next().text}"
        keys = self._keys()
        if (attributes := self._context.attributes.get(path)) is not None:
            if not keys or not isinstance(keys[0], str):
                raise ConditionError(f'{path} needs a key, as in {path}["key"].', token.position)
            first = keys[0]
            return indexed(lambda env: scalar(find(attributes(env), first)), keys[1:], path)
        if (getter := self._context.paths.get(path)) is not None:
            return indexed(getter, keys, path)
        raise self._unknown("path", path, token, [*self._context.paths, *self._context.attributes, *constants])

    def _keys(self) -> list[str | int]:
        keys: list[str | int] = []
        while self._at_operator("["):
            self._index += 1
            if len(keys) == MAX_NESTING:
                raise ConditionError(f"more than {MAX_NESTING} keys after each other.", self._peek.position)
            token = self._next()
            if token.kind == "string":
                keys.append(token.text)
            elif token.kind == "int":
                keys.append(_integer(token))
            else:
                self._index -= 1
                raise self._unexpected('a key, as in ["key"]')
            self._expect("]")
        return keys

    def _function(self) -> Condition:
        token = self._next()
        name = token.text
        if name not in self._context.functions:
            raise self._unknown("function", name, token, list(self._context.functions))
        self._expect("(")
        if name == "IsMatch":
            target = self._value()
            self._expect(",")
            pattern = self._pattern()
            self._expect(")")
            return lambda env: is_match(target(env), pattern)
        if name == "IsRootSpan":
            self._expect(")")
            return lambda env: not env.item.parent_span_id
        key = self._string("a key")
        value: str | None = None
        if name == "HasAttrOnDatapoint":
            self._expect(",")
            value = self._string("a value")
        self._expect(")")
        return lambda env: any(has_attribute(point, key, value) for point in data_points(env.item))

    def _pattern(self) -> Pattern:
        position = self._peek.position
        text = self._string("a regular expression")
        try:
            return Pattern(text)
        except ValueError as error:
            raise ConditionError(str(error), position) from None

    # --- tokens

    @property
    def _peek(self) -> Token:
        return self._tokens[self._index]

    def _peek_at(self, distance: int) -> Token:
        return self._tokens[min(self._index + distance, len(self._tokens) - 1)]

    def _next(self) -> Token:
        token = self._peek
        self._index += token.kind != "end"
        return token

    def _at_operator(self, text: str) -> bool:
        return self._peek.kind == "operator" and self._peek.text == text

    def _take_word(self, text: str) -> bool:
        if self._peek.text != text or self._peek.kind != "name":
            return False
        self._index += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._at_operator(text):
            raise self._unexpected(repr(text))
        self._index += 1

    def _string(self, what: str) -> str:
        if self._peek.kind != "string":
            raise self._unexpected(f"{what} in double quotes")
        return self._next().text

    def _enter(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise ConditionError(f"more than {MAX_NESTING} parentheses inside each other.", self._peek.position)

    def _holds_condition(self) -> bool:
        """Whether the parenthesis here holds a condition and not a calculation: it does when a comparison, a function
        or a logical word stands in it."""
        depth = 0
        for token, following in zip(self._tokens[self._index :], self._tokens[self._index + 1 :], strict=False):
            if token.kind == "operator":
                depth += (token.text == "(") - (token.text == ")")
                if depth == 0:
                    return False
                if token.text in COMPARISONS:
                    return True
            elif token.kind == "name" and (
                token.text in ("and", "or", "not", "true", "false") or following.text == "("
            ):
                return True
        return False

    # --- errors

    def _unexpected(self, wanted: str) -> ConditionError:
        found = "the condition ends" if self._peek.kind == "end" else f"{self._peek.text!r} stands"
        return ConditionError(f"{found} where {wanted} should be.", self._peek.position)

    def _unknown(self, what: str, name: str, token: Token, valid: list[str]) -> ConditionError:
        near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"possible are {', '.join(sorted(valid))}."
        return ConditionError(f"{name} is not a {what} of {self._context.name}; {hint}", token.position)


def _literal(token: Token) -> Any:
    if token.kind == "string":
        return token.text
    if token.kind == "int":
        return _integer(token)
    if token.kind == "float":
        return float(token.text)
    if len(token.text) % 2:
        raise ConditionError("bytes need an even number of hexadecimal digits.", token.position)
    return bytes.fromhex(token.text[2:])


def _integer(token: Token) -> int:
    if len(token.text) > 19 or int(token.text) >= 2**63:
        raise ConditionError(f"{token.text[:30]} does not fit into 64 bits.", token.position)
    return int(token.text)
