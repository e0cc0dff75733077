"""Reads the text formats: Prometheus's 0.0.4, with names in quotes (1.0.0) too, and OpenMetrics 1.0.

What Prometheus's own parsers take is taken, and what they refuse fails the whole page. All of it is linear in the
length of the page. A series that was on the page before is not taken apart again.

Sources: prometheus.io, "Exposition formats"; OpenMetrics 1.0.0, "Text Format"; prometheus/proposals 0028 (UTF-8 names).
"""

from __future__ import annotations

import re

from ares_otel.receivers.prometheus.page import (
    MAX_HELP,
    MAX_SAMPLES,
    TYPES,
    Exemplar,
    Family,
    Known,
    Page,
    Sample,
    Series,
    WrongPage,
    check_labels,
    check_time,
)

_SERIES = r'([a-zA-Z_:][a-zA-Z0-9_:]*+|(?=\{))[ \t]*+(\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})?'
_LINE = re.compile(rf"[ \t]*+({_SERIES})[ \t]*+([^ \t{{}}#]++)(?:[ \t]++([^ \t#]++))?[ \t]*+(#.*)?", re.DOTALL)
_EXEMPLAR = re.compile(r'# ?(\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\}) ++([^ ]++)(?: ++([^ ]++))? *+', re.DOTALL)
_LABEL = re.compile(
    r'[ \t]*+(?:([a-zA-Z_][a-zA-Z0-9_]*+)|"((?:[^"\\]|\\.)*+)")[ \t]*+(?:=[ \t]*+"((?:[^"\\]|\\.)*+)")?[ \t]*+(,|\Z)',
    re.DOTALL,
)
_META = re.compile(
    r'#[ \t]*+(HELP|TYPE|UNIT)[ \t]++(?:([a-zA-Z_:][a-zA-Z0-9_:]*+)|"((?:[^"\\]|\\.)*+)")(?:[ \t]++(.*))?', re.DOTALL
)
_EXPONENT = "(?:[eE][+-]?[0-9]++)?"
_NUMBER = re.compile(rf"[+-]?(?:[0-9]++(?:\.[0-9]*+)?{_EXPONENT}|\.[0-9]++{_EXPONENT}|[a-zA-Z]++)")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_ESCAPE = re.compile(r"\\([\\n\"])")
_ESCAPED = {"\\": "\\", "n": "\n", '"': '"'}
_TEXT_TYPES = {"untyped": "unknown"}
_MAX_SECONDS = 2**53 / 1000
MAX_EXEMPLAR_CHARACTERS = 128
"""OpenMetrics, "Exemplars": names and values of the labels together."""


def read_text(body: bytes, known: Known, *, openmetrics: bool = False) -> Page:
    """Reads a page.

    Args:
        known: series of this target that were read before; new ones are added.

    Raises:
        WrongPage: it is none; with the number of the line.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        raise WrongPage(f"line {number}: it is not UTF-8") from None
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise WrongPage(f"line {number}: it holds a NUL")
    lines = text.split("\n")
    if openmetrics:
        _cut_end(lines)
    reader = _Reader(known, openmetrics)
    number = 1
    try:
        for line in lines:
            reader.read(line)
            number += 1
    except WrongPage as error:
        raise WrongPage(f"line {number}: {error}") from None
    reader.end()
    return reader.page


def _cut_end(lines: list[str]) -> None:
    """Takes `# EOF` off, which says that the page is whole, and the line feed behind it."""
    if lines[-1] == "" and len(lines) > 1:
        lines.pop()
    if lines[-1] != "# EOF":
        raise WrongPage(f"line {len(lines)}: the page does not end in # EOF, so it may be cut short")
    lines.pop()
    if "# EOF" in lines:
        raise WrongPage(f"line {lines.index('# EOF') + 2}: something stands behind # EOF")


class _Reader:
    def __init__(self, known: Known, openmetrics: bool) -> None:
        self.page = Page(openmetrics=openmetrics)
        self._known = known
        self._openmetrics = openmetrics
        self._samples = self.page.samples

    def read(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            self._other(line)
            return
        key, name, braces, number, time, behind = match.groups()
        series = self._known.get(key)
        if series is None:
            series = _series(key, name, braces)
            self._known[key] = series
        if len(self._samples) >= MAX_SAMPLES:
            raise WrongPage(f"the page has more than {MAX_SAMPLES:,} samples")
        value = _number(number)
        if self._openmetrics:
            time_ms = None if time is None else _seconds(time)
            exemplars = () if behind is None else (_exemplar(behind),)
            self._samples.append(Sample(series, value, time_ms, exemplars))
            return
        if behind is not None:
            raise WrongPage("something stands behind the value and the time")
        self._samples.append(Sample(series, value, None if time is None else _milliseconds(time)))

    def _other(self, line: str) -> None:
        bare = line if self._openmetrics else line.lstrip(" \t")
        if not bare:
            if self._openmetrics:
                raise WrongPage("it is empty, which OpenMetrics does not allow")
            return
        if not bare.startswith("#"):
            raise WrongPage("it is neither a sample nor a comment")
        match = _META.fullmatch(bare)
        if match is None:
            if self._openmetrics or re.match(r"#[ \t]*(?:HELP|TYPE)[ \t]", bare):
                raise WrongPage("it begins with # and is no TYPE, HELP or UNIT with the name of a metric")
            return
        word, legacy, quoted, rest = match.groups()
        self._meta(word, legacy if legacy is not None else _unescaped(quoted), rest or "")

    def _meta(self, word: str, name: str, rest: str) -> None:
        if not name:
            raise WrongPage("it names no metric")
        family = self.page.families.get(name) or Family(name)
        if word == "TYPE":
            kind = rest.strip(" \t")
            kind = kind if self._openmetrics else _TEXT_TYPES.get(kind, kind)
            if kind not in TYPES:
                raise WrongPage("the type is not one of " + ", ".join(sorted(TYPES)))
            family = family._replace(type=kind)
        elif word == "HELP":
            family = family._replace(help=_unescaped(rest[: 2 * MAX_HELP])[:MAX_HELP])
        elif self._openmetrics:
            if rest and not name.endswith(f"_{rest}") and name != rest:
                raise WrongPage("the unit is not the end of the metric's name")
            family = family._replace(unit=rest[:MAX_HELP])
        self.page.families[name] = family

    def end(self) -> None:
        """Takes the samples that tell when others began out of an OpenMetrics page."""
        if not self._openmetrics:
            return
        kept = []
        for sample in self._samples:
            name = sample.series.name
            if name.endswith("_created"):
                family = self.page.families.get(name.removesuffix("_created"))
                if family is not None and family.type in ("counter", "histogram", "summary", "gaugehistogram"):
                    assert isinstance(sample.value, float)
                    self.page.created[family.name, sample.series.base] = sample.value
                    continue
            kept.append(sample)
        self.page.samples = kept


def _series(key: str, name: str, braces: str | None) -> Series:
    labels: list[tuple[str, str]] = []
    inner = braces[1:-1] if braces else ""
    at = 0
    while at < len(inner):
        match = _LABEL.match(inner, at)
        if match is None:
            if not inner[at:].strip(" \t"):
                break
            raise WrongPage("its labels cannot be read")
        legacy, quoted, value, _ = match.groups()
        if value is None:  # the metric's name, in quotes
            if quoted is None or name or labels:
                raise WrongPage("its labels cannot be read")
            name = _unescaped(quoted)
        else:
            label = legacy if legacy is not None else _unescaped(quoted)
            if not label or label == "__name__":
                raise WrongPage("a label has no name, or is called __name__")
            labels.append((label, _unescaped(value)))
        at = match.end()
    pairs = tuple(labels)
    check_labels(name, pairs)
    return Series(key, name, pairs)


def _unescaped(text: str) -> str:
    """What is no escape stays as it is."""
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], text) if "\\" in text else text


def _number(text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        raise WrongPage("the value is not a number")
    try:
        return float(text)
    except ValueError:
        raise WrongPage("the value is not a number") from None


def _milliseconds(text: str) -> int:
    if _WHOLE.fullmatch(text) is None:
        raise WrongPage("the time is not a whole number of milliseconds")
    return check_time(int(text))


def _seconds(text: str) -> int:
    seconds = _number(text)
    if not -_MAX_SECONDS < seconds < _MAX_SECONDS:
        raise WrongPage("the time is not a number of seconds")
    return check_time(round(seconds * 1000))


def _exemplar(text: str) -> Exemplar:
    match = _EXEMPLAR.fullmatch(text)
    if match is None:
        raise WrongPage("the exemplar cannot be read")
    braces, value, time = match.groups()
    labels = _series("", "exemplar", braces).labels
    if sum(len(name) + len(one) for name, one in labels) > MAX_EXEMPLAR_CHARACTERS:
        raise WrongPage(f"the labels of an exemplar have more than {MAX_EXEMPLAR_CHARACTERS} characters")
    return Exemplar(labels, _number(value), None if time is None else _seconds(time))
