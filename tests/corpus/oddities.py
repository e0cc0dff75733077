"""Spans and log records that stand at an edge, and bytes that no exporter should write."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from tests.corpus.expected import DAY, NOW, WINDOWS
from tests.corpus.exporters import RESOURCE, Style, enveloped, record, span, token
from tests.support.wire import data, double, fixed32, fixed64, group, number, tag, varint

GO = Style()
IDS = data(1, token("trace", 16)) + data(2, token("span", 8))
TIMES = fixed64(7, NOW - 1000) + fixed64(8, NOW)
_WINDOW = WINDOWS["service_spans"]

DOUBLES = [
    *(
        0.0,
        -0.0,
        1.0,
        -1.5,
        0.1,
        1 / 3,
        1e15,
        1e16,
        1e17,
        123456789012345680.0,
        1e-4,
        1e-5,
        1e-7,
        1e-16,
        9.9e-17,
        1e22,
        1e23,
    ),
    *(5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**52, 2.0**53, 2.0**60, 2.0**-30, 100.0, 1234567.0),
    *(float("nan"), float("inf"), float("-inf"), struct.unpack(">d", b"\x7f\xf0\0\0\0\0\0\2")[0]),
]
VALUES = {
    "text": "plain",
    "no text": "",
    "int": -7,
    "largest": 2**63 - 1,
    "smallest": -(2**63),
    "yes": True,
    "no": False,
    "bytes": b"\x00\xff\x10",
    "no bytes": b"",
    "unset": None,
    "list": [1, "two", 3.0, [True, []], {"four": b"4"}],
    "empty list": [],
    "object": {"a": {"b": [{"c": None}]}},
    "empty object": {},
}
TEXTS = {
    "quotes": 'say "yes" \\ "no"',
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
    "emoji": "\U0001f600 é ü 漢字 \ufffd \u2028",
    "backslash u": "\\u0000",
    'key "quoted"\n': "é" * 300,
    "": "an empty key",
    **{"x" * size: "y" * size for size in range(1, 18)},
}


def spans(*items: bytes, resource: Mapping[str, Any] = RESOURCE) -> bytes:
    return enveloped(GO, {"lib": items}, resource)


def raw_span(*fields: bytes) -> bytes:
    """A span with ids and times, and these fields behind them."""
    return data(2, IDS, TIMES, *fields)


def attribute(*value: bytes, key: str = "k") -> bytes:
    """An attribute of a span whose value has these fields."""
    return data(9, data(1, key), data(2, *value))


def deep(levels: int, *, objects: bool = False) -> bytes:
    """The inside of an AnyValue of so many arrays or objects."""
    value = number(2, 1)
    for _ in range(levels):
        value = data(6, data(1, data(1, "k"), data(2, value))) if objects else data(5, data(1, value))
    return value


def at(start: int, end: int) -> bytes:
    return data(2, IDS, fixed64(7, start), fixed64(8, end))


def resource_twice() -> bytes:
    one = data(1, data(1, GO.pair("service.name", "first")))
    two = data(1, data(1, GO.pair("host.name", "second")))
    return data(1, one, two, data(2, raw_span()))


def without_envelope() -> bytes:
    return data(1, data(2, raw_span()), data(2, data(1), raw_span()))


def many_resources() -> bytes:
    """Equal ones, and ones whose names are no text."""
    named = [{"service.name": name} for name in ("a", "a", "", None, 7, 1.5, True, ["a", 1], "ü" * 300, b"x")]
    return b"".join(spans(span(GO, f"s{place}"), resource=resource) for place, resource in enumerate(named))


TRACES: dict[str, Callable[[], bytes]] = {
    "an-empty-request": lambda: b"",
    "scopes-without-spans": lambda: spans() + data(1),
    "ids-of-wrong-lengths": lambda: spans(
        *(data(2, data(1, b"t" * size), data(2, b"s" * 8), TIMES) for size in (0, 15, 16, 17)),
        *(data(2, data(1, b"t" * 16), data(2, b"s" * size), TIMES) for size in (0, 7, 9)),
        data(2, data(1, bytes(16)), data(2, b"s" * 8)),
        data(2, data(1, b"t" * 16), data(2, bytes(8))),
        raw_span(data(4, bytes(8))),
        raw_span(data(4, b"1234567")),
    ),
    "times-at-the-edges": lambda: spans(
        *(at(start, start) for start in (0, 1, 999, 1000, 2**63 - 1, 2**63, 2**64 - 1)),
        *(
            at(start, start + 7)
            for start in (_WINDOW.start_ns - 1, _WINDOW.start_ns, _WINDOW.end_ns - 1, _WINDOW.end_ns)
        ),
        at(NOW, NOW - 1),
        at(0, 2**63),
        at(0, 2**64 - 1),
        at(NOW - DAY, NOW),
        data(2, IDS),
    ),
    "numbers-without-names": lambda: spans(
        *(raw_span(number(6, kind)) for kind in (0, 1, 4, 5, 6, 99, -1, 2**31 - 1)),
        *(raw_span(data(15, number(3, code))) for code in (0, 1, 2, 3, -5)),
        raw_span(data(15)),
        raw_span(fixed32(16, 2**32 - 1), number(10, 2**32 - 1), number(12, 1), number(14, 2**31)),
    ),
    "numbers-that-their-types-do-not-hold": lambda: spans(raw_span(number(6, 2**40 + 3), number(10, 2**35 + 1))),
    "values-of-every-kind": lambda: spans(span(GO, "values", attributes=VALUES)),
    "a-value-of-every-kind-alone": lambda: spans(*(span(GO, key, attributes={key: VALUES[key]}) for key in VALUES)),
    "doubles": lambda: spans(*(span(GO, repr(value), attributes={"d": value}) for value in DOUBLES)),
    "texts": lambda: spans(span(GO, "texts", attributes=TEXTS), *(span(GO, text) for text in TEXTS.values())),
    "a-hundred-attributes": lambda: spans(span(GO, "many", attributes={f"key.{place}": place for place in range(100)})),
    "a-hundred-attributes-of-which-two-are-one": lambda: spans(
        span(GO, "many", attributes={f"key.{place}": place for place in range(100)}),
        raw_span(*(GO.attributes(9, {f"key.{place % 99}": place}) for place in range(100))),
    ),
    "arrays-and-objects-inside-each-other": lambda: spans(
        *(raw_span(attribute(deep(levels))) for levels in (1, 20, 40)),
        *(raw_span(attribute(deep(levels, objects=True))) for levels in (1, 15, 27)),
    ),
    "nesting-beyond-what-protobuf-takes": lambda: spans(raw_span(attribute(deep(2000)))),
    "a-resource-twice": resource_twice,
    "no-resource-and-no-scope": without_envelope,
    "many-resources": many_resources,
    "a-scope-with-attributes-and-no-name": lambda: data(
        1, data(2, data(1, data(3, GO.pair("a", 1)), data(3, GO.pair("b", b"\0")), number(4, 5)), raw_span())
    ),
    "entity-references": lambda: data(
        1, data(1, data(3, data(1, SCHEMA_OF_ENTITY), data(2, "host"))), data(2, raw_span())
    ),
    "a-key-in-a-string-table": lambda: spans(raw_span(data(9, number(3, 4), data(2, data(1, "v"))))),
    "a-value-in-a-string-table": lambda: spans(raw_span(attribute(number(8, 4)))),
    "nul-in-a-name": lambda: spans(raw_span(data(5, "a\0b")), raw_span(data(5, "c"))),
    "nul-in-an-attribute": lambda: spans(raw_span(attribute(data(1, "\0\0"))), resource={"service.name": "n\0"}),
    "the-same-key-twice": lambda: spans(raw_span(attribute(data(1, "one")), attribute(data(1, "two")))),
    "unknown-fields": lambda: spans(raw_span(data(19, "new"), number(200, 1))) + number(7, 7),
    "an-unknown-field-in-an-attribute": lambda: spans(
        raw_span(data(9, data(1, "k"), data(2, data(1, "v")), data(9, "x")))
    ),
    "a-group": lambda: spans(raw_span(group(17))) + group(3, number(1, 1)),
    "a-name-twice": lambda: spans(raw_span(data(5, "first"), data(5, "second"))),
    "a-status-twice": lambda: spans(raw_span(data(15, number(3, 2)), data(15, data(2, "message")))),
    "two-values-in-one": lambda: spans(raw_span(attribute(data(1, "text"), number(3, 5)))),
    "two-arrays-in-one": lambda: spans(
        raw_span(attribute(data(5, data(1, number(3, 1))), data(5, data(1, number(3, 2)))))
    ),
    "a-value-before-its-key": lambda: spans(
        raw_span(data(9, data(2, data(1, "v")), data(1, "k"))),
        raw_span(data(9, data(2, data(7, b"bytes")), data(1, "k"))),
    ),
    "a-key-without-a-value": lambda: spans(raw_span(data(9, data(1, "k")), data(9)), raw_span(data(9, data(2)))),
    "padded-numbers": lambda: spans(
        raw_span(attribute(number(3, 5, size=4)), number(6, 2, size=9), number(10, 1, size=3))
    ),
    "padded-numbers-that-are-kept": lambda: spans(
        raw_span(attribute(number(3, 5, size=4)), attribute(data(7, b"b"), key="l"))
    ),
    "padded-lengths-that-are-hashed": lambda: data(
        1, data(1, data(1, data(1, "k", size=3), data(2, data(1, "v")))), data(2, raw_span())
    ),
    "lengths-padded-to-five-bytes": lambda: data(1, data(2, data(2, IDS, TIMES, size=5), size=5), size=5),
    "a-length-padded-to-six-bytes": lambda: data(1, data(2, data(2, IDS, TIMES, size=6))),
    "padded-tags": lambda: spans(data(2, IDS, TIMES, varint(5 << 3 | 2, 3) + b"\x04name")),
    "wrong-wire-types": lambda: spans(raw_span(number(16, 5), fixed64(6, 3), number(5, 9), data(7, b"12345678"))),
    "invalid-utf8": lambda: spans(raw_span(data(5, b"\xff\xfe"))),
    "a-surrogate-in-an-attribute": lambda: spans(raw_span(attribute(data(1, b"\xed\xa0\x80")))),
    "overlong-utf8": lambda: spans(raw_span(attribute(data(1, b"\xc0\x80")))),
    "an-endless-varint": lambda: spans(raw_span(tag(6, 0) + b"\xff" * 10 + b"\x01")),
    "a-length-beyond-the-end": lambda: spans(raw_span(tag(5, 2) + varint(1000) + b"short")),
    "a-length-of-two-gigabytes": lambda: tag(1, 2) + varint(2**31 - 1),
    "a-field-number-of-zero": lambda: spans(raw_span(b"\x02\x00")),
    "half-a-request": lambda: spans(span(GO, "cut"))[:-20],
}
SCHEMA_OF_ENTITY = "https://example.org/entities"

LOGS: dict[str, Callable[[], bytes]] = {
    "levels": lambda: logs(
        *(
            record(GO, "", severity=severity, text="")
            for severity in (-1, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 99)
        ),
        *(
            record(GO, "", severity=0, text=text)
            for text in ("trace", "Debug", "INFO", "notice", "warning", "ERR", "Fatal", "panic", "chatty", "x" * 40)
        ),
    ),
    "a-level-in-white-space": lambda: logs(
        record(GO, "", severity=0, text=" warn\t"), record(GO, "", severity=0, text="\u2003err")
    ),
    "a-level-in-other-letters": lambda: logs(
        record(GO, "", severity=0, text="\u212aritisch"), record(GO, "", severity=0, text="İNFO")
    ),
    "bodies": lambda: logs(*(record(GO, value) for value in VALUES.values()), data(2, fixed64(1, NOW))),
    "bodies-that-are-doubles": lambda: logs(*(record(GO, value) for value in DOUBLES)),
    "texts": lambda: logs(*(record(GO, text, attributes={"t": text}) for text in TEXTS.values())),
    "nul-in-a-body": lambda: logs(record(GO, "a\0b"), record(GO, ["\0"])),
    "times": lambda: logs(
        *(
            data(2, GO.fixed64(1, time), GO.fixed64(11, observed))
            for time in (0, 1, NOW, NOW + 3 * DAY, 2**64 - 1)
            for observed in (0, 1, NOW - 7, 2**64 - 1)
        )
    ),
    "ids": lambda: logs(
        *(data(2, data(9, b"t" * size)) for size in (0, 1, 15, 16, 17)),
        *(data(2, data(10, b"s" * size)) for size in (0, 1, 7, 8, 9)),
        data(2, data(9, bytes(16)), data(10, bytes(8))),
        data(2, data(9, bytes(15)), data(10, bytes(9))),
    ),
    "code-attributes": lambda: logs(
        *(
            record(GO, "", attributes=attributes)
            for attributes in (
                {"code.filepath": "a.py", "code.lineno": 3},
                {"code.file.path": "b.py", "code.filepath": "a.py", "code.line.number": "17", "code.lineno": 4},
                {"code.file.path": "", "code.filepath": "used.py", "code.line.number": "x", "code.lineno": "0042"},
                {"code.line.number": "99999999999", "code.lineno": "2147483648"},
                {"code.line.number": 2**31, "code.lineno": -1, "parent_span_id": "00f067aa0ba902b7"},
                {"parent_span_id": "0" * 16},
                {"parent_span_id": "00F067AA0BA902B7"},
                {"parent_span_id": "xyz"},
                {"parent_span_id": 7},
            )
        )
    ),
    "code-attributes-of-unusual-kinds": lambda: logs(
        *(
            record(GO, "", attributes=attributes)
            for attributes in (
                {"code.file.path": 5, "code.filepath": "old.py", "code.line.number": 2**31, "code.lineno": -1},
                {"code.line.number": True, "code.lineno": 9.0},
                {"code.file.path": ["a"], "code.line.number": None, "parent_span_id": "00f067aa0ba902b7"},
                {"parent_span_id": "00 f0 67 aa 0b a"},
            )
        )
    ),
    "six-hundred-traces": lambda: logs(
        *(data(2, data(9, token(str(place), 16)), number(2, 9)) for place in range(600))
    ),
    "a-body-twice": lambda: logs(data(2, data(5, data(1, "one")), data(5, number(3, 2)))),
    "a-body-of-two-values": lambda: logs(data(2, data(5, data(1, "one"), double(4, 2.0)))),
    "padded-numbers-in-a-body-that-is-kept": lambda: logs(
        data(2, data(5, data(5, data(1, number(3, 1, size=5)), data(1, data(7, b"x")))))
    ),
    "a-record-of-nothing": lambda: logs(data(2), data(2)),
    "invalid-utf8-in-a-body": lambda: logs(data(2, data(5, data(1, b"\x80")))),
}


def logs(*items: bytes) -> bytes:
    return enveloped(GO, {"": items})


BUILDERS = {
    **{f"traces-{name}": build for name, build in TRACES.items()},
    **{f"logs-{name}": build for name, build in LOGS.items()},
}
