"""Jaeger's HTTP APIs as one ASGI application: below `/jaeger` of the API, and at the root of a port of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import asyncpg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ares_otel.api.jaeger.adjust import MAX_SKEW_NS
from ares_otel.api.jaeger.v1_envelope import RETRY_SECONDS, error
from ares_otel.api.jaeger.v1_routes import v1_routes
from ares_otel.api.leaving import UntilGone
from ares_otel.query.reader import DatabaseUnavailable, QueryTooSlow

_log = logging.getLogger(__name__)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Ares OTel: Jaeger's APIs</title></head><body>
<h1>Jaeger's query APIs, served by Ares OTel</h1>
<p>This address answers what Jaeger's query service answers. Give it to Grafana's Jaeger data source as its URL, or to
any other client of Jaeger. Jaeger's own pages are not here: for them, let a Jaeger use Ares as its remote storage.</p>
<ul>
<li><a href="api/services">api/services</a>: the services that sent spans</li>
<li><code>api/traces?service=NAME</code>, <code>api/traces/ID</code>: traces in Jaeger's JSON</li>
<li><code>api/v3/…</code>: the same as OTLP</li>
</ul>
<p>The documentation is in <code>docs/jaeger-http.md</code> and <code>docs/jaeger.md</code> of Ares.</p>
</body></html>
"""


def jaeger_app(pool: asyncpg.Pool, *, more: Sequence[BaseRoute] = (), max_skew_ns: int = MAX_SKEW_NS) -> ASGIApp:
    """Everything below `/api`, and a page at `/` that says what this is.

    Args:
        more: routes of others below `/api`, which come first: v3, sampling. They answer their own errors.
        max_skew_ns: see `adjust`.
    """
    app = Starlette(
        routes=[Route("/", _page), *more, *v1_routes(pool, max_skew_ns=max_skew_ns)],
        exception_handlers={
            HTTPException: _http,
            DatabaseUnavailable: _away,
            QueryTooSlow: _slow,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    return UntilGone(_Door(app))


class _Door:
    """Takes a slash at the end of a path for none, and answers what nobody expected in Jaeger's shape."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        complete = False

        async def watched_send(message: Message) -> None:
            nonlocal complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(_without_slash(scope), receive, watched_send)
        except Exception:
            if not complete:
                raise  # too late for an answer; the server closes the connection
            _log.exception("A request of Jaeger's API failed: %s %.200s", scope["method"], scope["path"])


def _without_slash(scope: Scope) -> Scope:
    root, path = scope.get("root_path", ""), scope["path"]
    bare = path.rstrip("/")
    return {**scope, "path": bare if len(bare) > len(root) else f"{root}/"}


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE)


async def _http(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, HTTPException)
    headers = dict(wrong.headers or {})
    if wrong.status_code == 404:
        return error(404, "There is nothing at this path; docs/jaeger-http.md of Ares lists those there are.")
    if wrong.status_code == 405:
        allow = sorted(headers.get("Allow", "GET").replace(" ", "").split(","))
        return error(405, f"Use {' or '.join(allow)}.", headers={"Allow": ", ".join(allow)})
    return error(wrong.status_code, str(wrong.detail), headers=headers)


async def _away(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, DatabaseUnavailable)
    return error(503, wrong.message, headers={"Retry-After": str(RETRY_SECONDS)})


async def _slow(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, QueryTooSlow)
    return error(503, wrong.message)


async def _unexpected(request: Request, wrong: Exception) -> Response:
    return error(500, "The request could not be answered; Ares's log has the reason.")
