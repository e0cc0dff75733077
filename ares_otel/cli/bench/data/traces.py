"""Spans with the attributes of the semantic conventions."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from ares_otel.cli.bench.data.story import MS, Deed
from ares_otel.cli.bench.data.values import Attributes, key_values

_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36",
)
_KINDS = {
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
    "database": Span.SPAN_KIND_CLIENT,
    "internal": Span.SPAN_KIND_INTERNAL,
    "producer": Span.SPAN_KIND_PRODUCER,
    "consumer": Span.SPAN_KIND_CONSUMER,
}
_LIBRARIES = {
    "server": "http.server",
    "client": "http.client",
    "database": "sql",
    "internal": "shop",
    "producer": "kafka",
    "consumer": "kafka",
}


def scopes_of(deeds: list[Deed]) -> list[ScopeSpans]:
    """The spans of one instance, by the library that made them."""
    made: dict[str, ScopeSpans] = {}
    for deed in deeds:
        library = _LIBRARIES[deed.role]
        if library not in made:
            made[library] = ScopeSpans()
            made[library].scope.name = deed.service.scope(library)
            made[library].scope.version = "2.21.0"
        _fill(made[library].spans.add(), deed)
    return list(made.values())


def _fill(span: Span, deed: Deed) -> None:
    name, attributes = _DESCRIPTIONS[deed.role](deed)
    span.trace_id, span.span_id, span.parent_span_id = deed.trace_id, deed.span_id, deed.parent_id
    span.name = name
    span.kind = _KINDS[deed.role]
    span.start_time_unix_nano, span.end_time_unix_nano = deed.start, deed.end
    span.flags = 0x101
    span.attributes.extend(key_values(attributes))
    if deed.link:
        span.links.add(trace_id=deed.trace_id, span_id=deed.link, flags=0x101)
    if deed.failed:
        span.status.code = Status.STATUS_CODE_ERROR
        if deed.role != "client":
            event = span.events.add(name="exception", time_unix_nano=deed.end - 1000)
            event.attributes.extend(
                key_values(
                    {
                        "exception.type": "TimeoutError",
                        "exception.message": f"{deed.what} did not answer within 500 ms",
                        "exception.stacktrace": _STACK.format(module=deed.service.name, what=deed.what),
                    }
                )
            )


_STACK = """Traceback (most recent call last):
  File "/app/{module}/handlers.py", line 118, in handle
    return await self.service.run(request)
  File "/app/{module}/service.py", line 64, in run
    row = await self.store.load("{what}", timeout=0.5)
  File "/app/{module}/store.py", line 31, in load
    raise TimeoutError(name)
TimeoutError: {what}"""


def _server(deed: Deed) -> tuple[str, Attributes]:
    path = deed.what.replace("{id}", str(deed.number))
    return f"{deed.method} {deed.what}", {
        "http.request.method": deed.method,
        "http.route": deed.what,
        "url.scheme": "https",
        "url.path": path,
        "http.response.status_code": 500 if deed.failed else 200,
        "server.address": f"{deed.service.name}.shop.svc",
        "server.port": 8443,
        "client.address": f"10.{deed.number % 4}.{deed.number % 251}.{deed.number % 241}",
        "user_agent.original": _AGENTS[deed.number % len(_AGENTS)],
        "network.protocol.version": "1.1",
        "enduser.id": f"customer-{deed.number % 20_000}",
    }


def _client(deed: Deed) -> tuple[str, Attributes]:
    return deed.method, {
        "http.request.method": deed.method,
        "url.full": f"https://{deed.peer}.shop.svc:8443{deed.what.replace('{id}', str(deed.number))}",
        "server.address": f"{deed.peer}.shop.svc",
        "server.port": 8443,
        "http.response.status_code": 500 if deed.failed else 200,
        "network.protocol.version": "1.1",
    }


def _database(deed: Deed) -> tuple[str, Attributes]:
    return f"SELECT {deed.what}", {
        "db.system.name": deed.service.database,
        "db.namespace": "shop",
        "db.operation.name": "SELECT",
        "db.collection.name": deed.what,
        "db.query.text": f"SELECT * FROM {deed.what} WHERE id = $1 AND deleted_at IS NULL",  # noqa: S608 - only text
        "db.response.returned_rows": deed.number % 50,
        "server.address": "db.internal",
        "server.port": 5432,
    }


def _internal(deed: Deed) -> tuple[str, Attributes]:
    return deed.what, {"enduser.id": f"customer-{deed.number % 20_000}", "shop.cached": deed.number % 3 != 0}


def _message(deed: Deed, operation: str) -> tuple[str, Attributes]:
    return f"{operation} {deed.what}", {
        "messaging.system": "kafka",
        "messaging.destination.name": deed.what,
        "messaging.operation.name": operation,
        "messaging.destination.partition.id": str(deed.number % 12),
        "messaging.kafka.offset": deed.number * 7,
        "messaging.message.body.size": 200 + deed.number % 3000,
        "shop.delay_ms": (deed.end - deed.start) / MS,
    }


_DESCRIPTIONS: dict[str, Callable[[Deed], tuple[str, Attributes]]] = {
    "server": _server,
    "client": _client,
    "database": _database,
    "internal": _internal,
    "producer": lambda deed: _message(deed, "send"),
    "consumer": lambda deed: _message(deed, "process"),
}
