"""Series selectors of PromQL, as `match[]` has them: `http_requests_total{method="GET", path!~"/internal/.*"}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import re2

from ares_otel.model.prometheus.labels import NAME

MAX_LENGTH = 8192
MAX_MATCHERS = 100
MAX_PATTERN = 4096
MAX_PATTERN_MEMORY = 1024 * 1024
"""Bytes that RE2 may take for one pattern: its default is 8 MiB, and twenty characters can need three hundred
milliseconds and 30 MB."""
_BLANK = re.compile(r"[ \t\r\n]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`')
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_CHARACTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class InvalidSelector(ValueError):
    """A text that is no selector; the message says what is wrong and where, without a subject."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition. A label that is missing has the empty value."""

    label: str
    operator: str
    value: str
    test: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions of which all must hold."""

    matchers: tuple[Matcher, ...]

    def matches(self, labels: Mapping[str, str], names: tuple[str, ...]) -> bool:
        """Whether a series is meant.

        Args:
            labels: all but its name.
            names: what it is called: a histogram has several, and one that fits is enough.
        """
        if not all(matcher.test(labels.get(matcher.label, "")) for matcher in self.matchers if matcher.label != NAME):
            return False
        about_name = [matcher for matcher in self.matchers if matcher.label == NAME]
        return not about_name or any(all(matcher.test(name) for matcher in about_name) for name in names)


def parse_selector(text: str) -> Selector:
    """A selector, in PromQL's syntax with names in quotes too (`{"http.requests", "http.method"="GET"}`).

    Raises:
        InvalidSelector: it is none, or would select everything.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidSelector(f"must have {MAX_LENGTH} characters at most")
    return _Parser(text).selector()


def make_matcher(label: str, operator: str, value: str) -> Matcher:
    """A condition whose parts are known already; `operator` is `=`, `!=`, `=~` or `!~`.

    Raises:
        InvalidSelector: the value is no regular expression.
    """

    def fail(what: str) -> NoReturn:
        raise InvalidSelector(what)

    return _matcher(label, operator, value, fail)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._matchers: list[Matcher] = []
        self._named = False

    def selector(self) -> Selector:
        self._blank()
        if name := self._taken(_METRIC):
            self._name(name)
            self._blank()
        if self._skipped("{"):
            self._braces()
            self._blank()
        if self._at < len(self._text):
            self._fail("something stands behind the selector")
        if not self._matchers:
            self._fail("a selector names a metric or has conditions in braces")
        if all(matcher.test("") for matcher in self._matchers):
            self._fail("at least one condition must not hold for an empty value: this would select everything")
        return Selector(tuple(self._matchers))

    def _braces(self) -> None:
        self._blank()
        while not self._skipped("}"):
            self._condition()
            self._blank()
            if not self._skipped(","):
                if not self._skipped("}"):
                    self._fail("a comma or a closing brace is missing")
                return
            self._blank()

    def _condition(self) -> None:
        if len(self._matchers) >= MAX_MATCHERS:
            self._fail(f"a selector has {MAX_MATCHERS} conditions at most")
        quoted = self._text[self._at : self._at + 1] in ('"', "'", "`")
        label = self._string() if quoted else self._taken(_LABEL)
        if not label:
            self._fail("the name of a label is missing")
        self._blank()
        operator = self._taken(_OPERATOR)
        if operator is None:
            if not quoted:
                self._fail(f"an operator (=, !=, =~, !~) is missing behind {label}")
            self._name(label)
            return
        self._blank()
        self._matchers.append(_matcher(label, operator, self._string(), self._fail))

    def _name(self, name: str) -> None:
        if self._named:
            self._fail("the metric's name stands there twice")
        self._named = True
        self._matchers.append(_matcher(NAME, "=", name, self._fail))

    def _string(self) -> str:
        token = self._taken(_QUOTED)
        if token is None:
            self._fail("a text in quotes is missing")
        if token[0] == "`":
            return token[1:-1]
        return _ESCAPE.sub(lambda found: self._unescaped(found, token[0]), token[1:-1])

    def _unescaped(self, found: re.Match[str], quote: str) -> str:
        hexadecimal, octal, short, long, other = found.groups()
        if other is not None:
            if other in _CHARACTERS:
                return _CHARACTERS[other]
            if other in ("\\", quote):
                return other
            self._fail(f"there is no escape \\{other}")
        code = int(octal, 8) if octal else int(hexadecimal or short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF or (octal and code > 0xFF):
            self._fail("an escape names no character")
        return chr(code)

    def _blank(self) -> None:
        self._taken(_BLANK)

    def _taken(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _skipped(self, char: str) -> bool:
        if not self._text.startswith(char, self._at):
            return False
        self._at += 1
        return True

    def _fail(self, what: str) -> NoReturn:
        raise InvalidSelector(f"is no selector at character {self._at + 1}: {what}")


def _matcher(label: str, operator: str, value: str, fail: Callable[[str], NoReturn]) -> Matcher:
    if operator == "=":
        return Matcher(label, operator, value, lambda text: text == value)
    if operator == "!=":
        return Matcher(label, operator, value, lambda text: text != value)
    found = _regex(value, fail)
    if operator == "=~":
        return Matcher(label, operator, value, found)
    return Matcher(label, operator, value, lambda text: not found(text))


def _regex(value: str, fail: Callable[[str], NoReturn]) -> Callable[[str], bool]:
    """RE2, anchored at both ends; a dot is any character."""
    if len(value) > MAX_PATTERN:
        fail(f"a regular expression has {MAX_PATTERN} characters at most")
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.never_capture = True  # what groups hold is found out ten times slower, and nobody asks
    options.max_mem = MAX_PATTERN_MEMORY
    try:
        compiled = re2.compile(value, options)
    except re2.error as error:
        if "too large" in str(error):
            fail(f"the regular expression {value[:100]!r} needs too much memory; repeat less in it")
        fail(f"{value[:100]!r} is not a regular expression in RE2's syntax")
    return lambda text: compiled.fullmatch(text) is not None
