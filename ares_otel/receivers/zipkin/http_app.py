"""Zipkin's HTTP API as far as it takes spans: `POST /api/v2/spans`.

Source: openzipkin/zipkin-api, zipkin2-api.yaml: spans that were taken are answered 202. It knows no partial success.
"""

from __future__ import annotations

from starlette.types import Scope

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import TRACES, Signal
from ares_otel.receivers.serving.body import content_type
from ares_otel.receivers.serving.http_app import Answer, PostApp, Read
from ares_otel.receivers.serving.http_config import HttpServerConfig
from ares_otel.receivers.serving.status import JSON, PROTOBUF, Failure, capped, http_failure
from ares_otel.receivers.zipkin.intake import ZipkinIntake

PATH = "/api/v2/spans"
_TEXT = "text/plain; charset=utf-8"


class ZipkinHttpApp(PostApp):
    """The app. Errors are a sentence in plain text.

    * Every span is stored: 202, nothing in the body.
    * Some were rejected: 202, for the rest is stored and must not come again; the body says how many, and why.
    * All were rejected: 400, with the reason.
    """

    def __init__(self, config: HttpServerConfig, intake: ZipkinIntake) -> None:
        super().__init__(config, intake, {PATH: TRACES})
        self._zipkin = intake

    def media_failure(self, scope: Scope) -> Failure | None:
        if content_type(scope) in (None, JSON, PROTOBUF):
            return None
        return http_failure(415, f"Content-Type must be {JSON} or {PROTOBUF}.")

    async def take(self, scope: Scope, signal: Signal, read: Read) -> Accepted | Failure:
        return await self._zipkin.take(read, proto=content_type(scope) == PROTOBUF)

    def accepted(self, scope: Scope, signal: Signal, accepted: Accepted) -> Answer:
        if not accepted.rejected:
            return Answer(202, "", b"")
        taken = accepted.stored + accepted.deduplicated + accepted.spooled + accepted.dropped
        return _text(202 if taken else 400, accepted.reason or "Some spans are invalid and were not stored.")

    def failed(self, scope: Scope | None, failure: Failure) -> Answer:
        return _text(failure.http_status, failure.message)

    def not_found(self, path: bytes) -> str:
        if path.startswith(b"/api/v1"):
            return f"Zipkin v1 is not served; send v2 to {PATH}."
        return f"There is nothing at this path; spans go to {PATH}, and what was stored is read over Ares's HTTP API."


def _text(status: int, message: str) -> Answer:
    return Answer(status, _TEXT, f"{capped(message)}\n".encode())
