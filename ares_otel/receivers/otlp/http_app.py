"""OTLP/HTTP as an ASGI app: one path for all signals, protobuf and JSON.

Source: OTLP specification 1.x, "OTLP/HTTP".
"""

from __future__ import annotations

from starlette.types import Scope

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal
from ares_otel.receivers.otlp.config import HttpConfig
from ares_otel.receivers.otlp.intake import Intake
from ares_otel.receivers.otlp.response import response_body
from ares_otel.receivers.serving.body import content_type
from ares_otel.receivers.serving.http_app import TRANSPORT, Answer, PostApp, Read
from ares_otel.receivers.serving.status import JSON, PROTOBUF, Failure, http_failure

PROMETHEUS_PATH = "/prometheus/api/v1/otlp/v1/metrics"
"""Where the HTTP API takes metrics too: what a sender appends to the address of a Prometheus."""


class OtlpHttpApp(PostApp):
    """The app. Every answer that is not 2xx carries a `google.rpc.Status` in the encoding of the request, protobuf
    when that is unknown."""

    def __init__(self, config: HttpConfig, intake: Intake) -> None:
        paths = {TRACES: config.traces_url_path, METRICS: config.metrics_url_path, LOGS: config.logs_url_path}
        also = {PROMETHEUS_PATH: METRICS} if METRICS in intake.signals else {}
        super().__init__(config, intake, {**also, **{paths[signal]: signal for signal in intake.signals}})
        self._otlp = intake

    def media_failure(self, scope: Scope) -> Failure | None:
        if content_type(scope) in (PROTOBUF, JSON):
            return None
        return http_failure(415, f"Content-Type must be {PROTOBUF} or {JSON}.")

    async def take(self, scope: Scope, signal: Signal, read: Read) -> Accepted | Failure:
        return await self._otlp.take(signal, TRANSPORT, read, json=content_type(scope) == JSON)

    def accepted(self, scope: Scope, signal: Signal, accepted: Accepted) -> Answer:
        kind = _answer_type(scope)
        return Answer(200, kind, response_body(signal, accepted, kind))

    def failed(self, scope: Scope | None, failure: Failure) -> Answer:
        return failure_answer(scope, failure)


def failure_answer(scope: Scope | None, failure: Failure) -> Answer:
    """The answer to a request that was not taken."""
    kind = _answer_type(scope)
    return Answer(failure.http_status, kind, failure.body(kind))


def _answer_type(scope: Scope | None) -> str:
    return JSON if scope is not None and content_type(scope) == JSON else PROTOBUF
