"""Jaeger's HTTP API of version 1: whatever is wrong is told in the envelope."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.jaeger_http import JaegerHttp, envelope_of, jaeger_http
from tests.support.ports import free_port

UNKNOWN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def api(emptied_database_url: str) -> AsyncIterator[JaegerHttp]:
    async with jaeger_http(emptied_database_url) as made:
        yield made


_WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(("traces", {"limit": value}, "limit") for value in ("0", "-1", "abc", "1.5", "10001", "9" * 30, "１")),
    *(("traces", {"start": value}, "start") for value in ("-1", "abc", "1e6", "9" * 19, "2026-01-01T00:00:00Z")),
    *(("traces", {"end": value}, "end") for value in ("-1", "abc", "9" * 19)),
    ("traces", {"start": 2, "end": 1}, "start"),
    ("traces", {"traceID": UNKNOWN, "start": 2, "end": 1}, "start"),
    (f"traces/{UNKNOWN}", {"start": 2, "end": 1}, "start"),
    (f"traces/{UNKNOWN}", {"raw": "maybe"}, "raw"),
    ("traces", {"raw": "maybe"}, "raw"),
    *(("traces", {"lookback": value}, "lookback") for value in ("abc", "-1h", "0s", "99999999d", "1y", "20")),
    *(("traces", {"tag": value}, "tag") for value in ("noColon", ":value", "nul\0:x")),
    *(
        ("traces", {"tags": value}, "tags")
        for value in ("{", "[]", "1", '{"a":null}', '{"a":{}}', '{"":"x"}', '{"a":[1]}')
    ),
    ("traces", {"tags": '{"a":"\\u0000"}'}, "tags"),
    *(("traces", {"minDuration": value}, "minDuration") for value in ("100", "abc", "-1s", "1d", "9" * 30 + "h")),
    *(("traces", {"maxDuration": value}, "maxDuration") for value in ("100", "-1ms")),
    ("traces", {"minDuration": "2s", "maxDuration": "1s"}, "maxDuration"),
    *(("traces", {"traceID": value}, "traceID") for value in ("xyz", "0", "4bf92f3577b34da6a3ce929d0e0e47360")),
    ("traces/xyz", {}, "traceID"),
    ("traces/00000000000000000000000000000000", {}, "traceID"),
    *(("traces", {name: "a\0b"}, name) for name in ("service", "operation")),
    ("operations", {}, "service"),
    ("operations", {"service": "x", "spanKind": "nonsense"}, "spanKind"),
    ("services/a%00b/operations", {}, "service"),
    *(("dependencies", {"endTs": value}, "endTs") for value in ("abc", "-1", "9" * 18)),
    *(("dependencies", {"lookback": value}, "lookback") for value in ("1h", "-1", "0", "9" * 18)),
    *((f"metrics/{kind}", {}, "service") for kind in ("latencies", "calls", "errors")),
    *(("metrics/latencies", {"service": "x", "quantile": value}, "quantile") for value in ("0", "1.1", "x", "nan")),
    *(("metrics/calls", {"service": "x", name: "abc"}, name) for name in ("endTs", "lookback", "step", "ratePer")),
    ("metrics/calls", {"service": "x", "spanKind": "nonsense"}, "spanKind"),
    ("metrics/calls", {"service": "x", "groupByOperation": "perhaps"}, "groupByOperation"),
]


async def test_a_wrong_parameter_is_400_in_the_envelope_with_a_sentence_that_names_it(api: JaegerHttp) -> None:
    for path, query, name in _WRONG:
        [told] = envelope_of(await api.get(path, **query), 400)["errors"]
        assert told["msg"].startswith(f"The parameter {name} "), (path, query, told)
        assert told["msg"].endswith(".")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", "/api", 404), ("GET", "/api/nope", 404), ("GET", "/api/traces/../x", 404), ("GET", "/search", 404)),
        *(("POST", "/api/services", 405), ("PUT", "/api/traces", 405), ("DELETE", "/api/transform", 405)),
        *(("GET", "/api/archive/77", 405), ("GET", "/api/transform", 405)),
    ],
)
async def test_unknown_paths_and_methods_are_answered_in_the_envelope(
    api: JaegerHttp, method: str, path: str, status: int
) -> None:
    answer = await api.client.request(method, path)
    envelope_of(answer, status)
    if status == 405:
        assert answer.headers["allow"]
        assert answer.headers["allow"].split(", ")[0] in answer.json()["errors"][0]["msg"]


async def test_without_the_database_everything_is_503_in_the_envelope() -> None:
    paths = ["services", "services/x/operations", "operations?service=x", "traces?service=x", f"traces/{UNKNOWN}"]
    paths += [f"traces?traceID={UNKNOWN}", "dependencies", "metrics/calls?service=x"]
    async with jaeger_http(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing") as away:
        for path in paths:
            answer = await away.client.get(f"/api/{path}")
            [told] = envelope_of(answer, 503)["errors"]
            assert "database" in told["msg"].lower(), path
            assert answer.headers["retry-after"] == "1"


async def test_the_root_says_what_this_is(api: JaegerHttp) -> None:
    answer = await api.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "remote storage" in answer.text
