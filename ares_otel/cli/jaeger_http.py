"""Jaeger's HTTP APIs: put together, and on a port of their own where one was asked for."""

from __future__ import annotations

import asyncpg
import typer
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from ares_otel.api.envelope import Envelope
from ares_otel.api.jaeger.door import jaeger_app
from ares_otel.api.jaeger.error_shapes import jaeger_error_body
from ares_otel.api.jaeger.v1_envelope import JSON, error_body
from ares_otel.api.jaeger.v3_http import v3_routes
from ares_otel.api.sampling.app import SamplingEndpoint
from ares_otel.cli.options import UpOptions
from ares_otel.model.go_duration import parse_go_duration
from ares_otel.pipeline.grace import Grace, Stages
from ares_otel.pipeline.http_door import ErrorBody, HttpDoor
from ares_otel.pipeline.listen import bind


def parse_max_clock_skew(text: str) -> int:
    """The option `--max-clock-skew-adjustment` in nanoseconds. Raises typer.BadParameter."""
    try:
        value = parse_go_duration(text)
        if value < 0:
            raise ValueError("must not be negative")
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--max-clock-skew-adjustment") from None
    return value


def make_jaeger(pool: asyncpg.Pool, options: UpOptions, sampling: SamplingEndpoint) -> ASGIApp:
    """The application, for `/jaeger` of the API and for the door."""
    skew = options.max_clock_skew_ns
    more = [Route("/api/sampling", sampling.__call__, methods=["GET"]), *v3_routes(pool, max_skew_ns=skew)]
    return jaeger_app(pool, more=more, max_skew_ns=skew)


def check_jaeger_port(options: UpOptions) -> None:
    """Raises StartError where the port is taken: that is said before a database is made."""
    if options.jaeger_http_port is not None:
        for probe in bind(options.host, options.jaeger_http_port, "--jaeger-http-port", "--host"):
            probe.close()


async def open_jaeger_door(options: UpOptions, jaeger: ASGIApp, grace: Grace, stack: Stages) -> dict[str, str]:
    """Opens the door that `--jaeger-http-port` asks for; `stack` closes it. Returns it by name, or nothing.

    Raises:
        StartError: the port is taken.
    """
    if options.jaeger_http_port is None:
        return {}
    door = HttpDoor(
        "jaeger-http",
        Envelope(jaeger, jaeger_root=""),
        host=options.host,
        port=options.jaeger_http_port,
        setting="--jaeger-http-port",
        host_setting="--host",
        allowed_hosts=options.allowed_hosts,
        error_bodies=_error_body,
        grace=grace,
    )
    stack.push_bounded("Jaeger's HTTP API", door.stop)
    await door.start()
    return {door.name: door.url}


def _error_body(scope: Scope | None, status: int, message: str) -> ErrorBody:
    """The body of an error that the door gives before, or instead of, the application."""
    body = None if scope is None else jaeger_error_body(scope["path"], status, message, root="")
    return ErrorBody(JSON, body or error_body(status, message))
