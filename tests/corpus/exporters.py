"""Requests in the forms in which exporters write: the order of fields, defaults that are written, padded lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from tests.corpus.expected import NOW
from tests.support.wire import data, double, fixed32, fixed64, number

SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
RESOURCE = {
    "service.name": "checkout",
    "service.namespace": "shop",
    "service.version": "2.7.1",
    "service.instance.id": "627cc493-f310-47de-96bd-71410b7dec09",
    "telemetry.sdk.language": "go",
    "host.arch": "",
    "process.pid": 4711,
    "process.command_args": ["/srv/checkout", "--port", "8000"],
}


@dataclass(frozen=True)
class Style:
    """How an exporter writes."""

    pad: int = 0
    """Bytes that the lengths of messages and attributes take."""
    defaults: bool = False
    """Whether zeros and empty texts are written."""
    empty_text_is_unset: bool = False
    """Whether an empty text attribute is a value without a field."""
    order: Sequence[int] = ()
    """Fields of a span or record that come first."""
    packed: bool = True
    """Whether repeated numbers are one field."""

    def message(self, field: int, *parts: bytes) -> bytes:
        return data(field, *parts, size=self.pad)

    def text(self, field: int, value: str) -> bytes:
        return data(field, value) if value or self.defaults else b""

    def number(self, field: int, value: int) -> bytes:
        return number(field, value) if value or self.defaults else b""

    def fixed32(self, field: int, value: int) -> bytes:
        return fixed32(field, value) if value or self.defaults else b""

    def fixed64(self, field: int, value: int) -> bytes:
        return fixed64(field, value) if value or self.defaults else b""

    def double(self, field: int, value: float) -> bytes:
        return double(field, value) if value or self.defaults else b""

    def any_value(self, value: Any) -> bytes:
        """The inside of an AnyValue."""
        if value is None or (value == "" and self.empty_text_is_unset):
            return b""
        if isinstance(value, str):
            return data(1, value)
        if isinstance(value, bool):
            return number(2, value)
        if isinstance(value, int):
            return number(3, value)
        if isinstance(value, float):
            return double(4, value)
        if isinstance(value, bytes):
            return data(7, value)
        if isinstance(value, Mapping):
            return data(6, *[data(1, self.pair(key, inner)) for key, inner in value.items()])
        return data(5, *[data(1, self.any_value(item)) for item in value])

    def pair(self, key: str, value: Any) -> bytes:
        """The inside of a KeyValue."""
        return self.text(1, key) + data(2, self.any_value(value))

    def attributes(self, field: int, values: Mapping[str, Any]) -> bytes:
        return b"".join(self.message(field, self.pair(key, value)) for key, value in values.items())

    def ordered(self, fields: Mapping[int, bytes]) -> bytes:
        """The fields of a message, in this exporter's order."""
        first = [number for number in self.order if number in fields]
        return b"".join(fields[number] for number in [*first, *(number for number in fields if number not in first)])

    def numbers(self, field: int, values: Sequence[bytes]) -> bytes:
        """A repeated number; each as it stands in a field of its own."""
        if self.packed:
            bare = [value[1:] for value in values]  # without the tag, which takes a byte
            return data(field, *bare) if values or self.defaults else b""
        return b"".join(values)


STYLES = {
    "go": Style(),
    "java": Style(empty_text_is_unset=True, order=(1, 2, 4, 5)),
    "javascript": Style(defaults=True),
    "dotnet": Style(pad=4, order=(1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16)),
    "rust": Style(order=(9, 5, 6)),
    "unpacked": Style(packed=False, order=(16, 15, 7)),
}


def token(what: str, size: int) -> bytes:
    """An id: the same in every build."""
    return blake2b(what.encode(), digest_size=size).digest()


def enveloped(style: Style, scopes: Mapping[str, Sequence[bytes]], resource: Mapping[str, Any] = RESOURCE) -> bytes:
    """A request of any signal: one resource, and its scopes by name with their items as fields 2."""
    made = [
        style.message(
            2,
            style.message(1, style.text(1, name), style.text(2, "1.9.0" if name else ""), style.number(4, 0)),
            *items,
            style.text(3, SCHEMA),
        )
        for name, items in scopes.items()
    ]
    about = style.message(1, style.attributes(1, resource), style.number(2, 0))
    return style.message(1, about, *made, style.text(3, SCHEMA))


def span(style: Style, name: str, **more: Any) -> bytes:
    """A span as the field of a scope."""
    start = NOW - 90_000_000
    event = {"exception.type": "Timeout", "exception.escaped": False}
    fields = {
        1: data(1, token("trace", 16)),
        2: data(2, token(name, 8)),
        3: style.text(3, more.get("state", "")),
        4: style.text(4, "") if more.get("root") else data(4, token("parent", 8)),
        5: style.text(5, name),
        6: style.number(6, more.get("kind", 2)),
        7: fixed64(7, start),
        8: fixed64(8, start + more.get("took", 12_345_678)),
        9: style.attributes(9, more.get("attributes", {"http.route": "/orders/{id}", "ok": True, "ratio": 0.25})),
        10: style.number(10, 0),
        11: style.message(11, fixed64(1, start + 5), style.text(2, "exception"), style.attributes(3, event)),
        12: style.number(12, 0),
        13: style.message(
            13, data(1, token("t", 16)), data(2, token("s", 8)), style.attributes(4, {"kind": "follows"})
        ),
        14: style.number(14, 0),
        15: style.message(15, style.text(2, more.get("message", "")), style.number(3, more.get("code", 0))),
        16: style.fixed32(16, 0x101),
    }
    return style.message(2, style.ordered(fields))


def record(style: Style, body: Any, **more: Any) -> bytes:
    """A log record as the field of a scope."""
    values = {
        "code.file.path": "/srv/checkout/main.go",
        "code.line.number": 42,
        "user": "",
        "code.function.name": "pay",
    }
    fields = {
        1: style.fixed64(1, more.get("time", NOW - 1)),
        2: style.number(2, more.get("severity", 9)),
        3: style.text(3, more.get("text", "INFO")),
        5: style.message(5, style.any_value(body)),
        6: style.attributes(6, more.get("attributes", values)),
        7: style.number(7, 0),
        8: style.fixed32(8, 1),
        9: data(9, token("trace", 16)),
        10: data(10, token("span", 8)),
        11: style.fixed64(11, NOW),
        12: style.text(12, more.get("event", "")),
    }
    return style.message(2, style.ordered(fields))


def traces(style: Style) -> bytes:
    """Spans of two scopes."""
    first = [
        span(style, "GET /orders"),
        span(style, "SELECT", kind=3, took=0, state="a=1"),
        span(style, "root", root=True),
    ]
    return enveloped(style, {"net/http": first, "": [span(style, "failed", kind=1, code=2, message="no money")]})


def logs(style: Style) -> bytes:
    """Records with bodies of several types."""
    first = [record(style, "order 42 was paid"), record(style, {"order": 42, "paid": True}, severity=17, text="ERROR")]
    return enveloped(style, {"slog": [*first, record(style, "", time=0, severity=0, text="", event="started")]})


def metrics(style: Style) -> bytes:
    """A metric of every type."""
    when = fixed64(2, NOW - 60_000_000_000) + fixed64(3, NOW)
    exemplar = style.message(
        8,
        fixed64(2, NOW - 5),
        double(3, 0.21),
        data(4, token("s", 8)),
        data(5, token("t", 16)),
        style.attributes(7, {"user.id": 7}),
    )
    on = {"http.route": "/orders", "http.request.method": "GET"}
    gauge = style.message(1, when, fixed64(6, 52_428_800), style.attributes(7, on), style.number(8, 0))
    total = style.message(1, when, double(4, 12.5), exemplar.replace(b"\x42", b"\x2a", 1), style.attributes(7, {}))
    counts = style.numbers(6, [fixed64(6, count) for count in (2, 1, 2, 1)])
    bounds = style.numbers(7, [double(7, bound) for bound in (0.05, 0.1, 0.25)])
    histogram = style.message(
        1,
        when,
        fixed64(4, 6),
        double(5, 0.9),
        counts,
        bounds,
        exemplar,
        style.attributes(9, on),
        double(11, 0.01),
        double(12, 0.5),
    )
    positive = data(8, number(1, 3), style.numbers(2, [number(2, count) for count in (1, 0, 300, 2)]))
    negative = data(9, style.number(1, 0), style.numbers(2, []))
    exponential = style.message(
        1,
        style.attributes(1, {"queue": "mail"}),
        when,
        fixed64(4, 304),
        double(5, 40.5),
        number(6, 6),
        fixed64(7, 1),
        positive,
        negative,
        style.number(10, 0),
        double(14, 0.0),
    )
    quantiles = [
        data(6, style.double(1, at), style.double(2, value)) for at, value in ((0.0, 0.5), (0.5, 2.0), (1.0, 9.0))
    ]
    summary = style.message(
        1, when, fixed64(4, 10), double(5, 25.0), *quantiles, style.attributes(7, {"job": "nightly"})
    )
    made = [
        ("process.memory.usage", "By", data(5, gauge)),
        ("http.server.requests", "{request}", data(7, total, number(2, 2), number(3, 1))),
        ("queue.length", "", data(7, gauge, gauge, style.number(3, 0), number(2, 1))),
        ("http.server.request.duration", "s", data(9, histogram, number(2, 2))),
        ("mail.wait", "ms", data(10, number(2, 1), exponential)),
        ("batch.duration", "s", data(11, summary)),
    ]
    items = [
        style.message(2, data(1, name), style.text(2, ""), style.text(3, unit), point) for name, unit, point in made
    ]
    return enveloped(style, {"shop.meter": items})


BUILDERS = {
    f"{signal}-as-{name}-writes-them": lambda build=build, style=style: build(style)
    for signal, build in {"traces": traces, "logs": logs, "metrics": metrics}.items()
    for name, style in STYLES.items()
}
