"""HTTP: `GET /sampling?service=NAME`, as SDKs with a remote sampler ask."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ares_otel.control.sampling.strategies import Strategies

PATHS = ("/sampling", "/api/sampling")
MOUNTED = "/jaeger/api/sampling"
"""The same behind Ares's own HTTP port."""
WRONG = "Name the service exactly once, as in /sampling?service=orders."
MAX_PARAMETERS = 100

OnAnswer = Callable[[str], None]
"""Called with the transport: http or grpc."""


class SamplingEndpoint:
    """Answers for a service. Works with names that nobody knows."""

    def __init__(self, strategies: Strategies, on_answer: OnAnswer = lambda transport: None) -> None:
        self.strategies = strategies
        self._on_answer = on_answer

    async def __call__(self, request: Request) -> Response:
        services = _services(request.scope["query_string"])
        if services is None or len(services) != 1 or not services[0]:
            return PlainTextResponse(WRONG, 400)
        strategy = await self.strategies.sampling_strategy(services[0])
        self._on_answer("http")
        return Response(strategy.json(), media_type="application/json")


def _services(query: bytes) -> list[str] | None:
    """The values of `service`; None for a query that has too many parameters."""
    try:
        pairs = parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return None
    return [value for name, value in pairs if name == "service"]


def sampling_app(endpoint: SamplingEndpoint) -> Starlette:
    """The application of the port that clients expect."""
    return Starlette(routes=[Route(path, endpoint.__call__, methods=["GET"]) for path in PATHS])
