"""Remote write over HTTP: `POST /api/v1/write`.

Sources: Prometheus Remote-Write 1.0, "Protocol", and 2.0, "Protocol", "Required Written Response Headers".
"""

from __future__ import annotations

from starlette.types import Scope

from ares_otel.model.batch import Accepted
from ares_otel.model.signal import METRICS, Signal
from ares_otel.receivers.prometheusremotewrite.intake import RemoteWriteIntake
from ares_otel.receivers.prometheusremotewrite.written import Written
from ares_otel.receivers.serving.body import header
from ares_otel.receivers.serving.cors import Headers
from ares_otel.receivers.serving.http_app import Answer, PostApp, Read
from ares_otel.receivers.serving.http_config import HttpServerConfig
from ares_otel.receivers.serving.status import PROTOBUF, Failure, capped, http_failure

PATHS = ("/api/v1/write", "/prometheus/api/v1/write")
V1, V2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
_TEXT = "text/plain; charset=utf-8"
_WRITTEN = "ares_otel.written"


class RemoteWriteApp(PostApp):
    """The app. Errors are a sentence in plain text.

    * All of it is stored: 204.
    * A part is invalid: 400, with the reason. The rest is stored and need not come again.
    * Nothing is stored and a retry helps: 503. Nothing is stored and it does not: 4xx.

    Every answer to 2.0 tells how much of each kind was written.
    """

    def __init__(self, config: HttpServerConfig, intake: RemoteWriteIntake) -> None:
        super().__init__(config, intake, dict.fromkeys(PATHS, METRICS))
        self._limit = config.max_request_body_size
        self._writes = intake

    def media_failure(self, scope: Scope) -> Failure | None:
        if message_of(scope) is None:
            return http_failure(
                415, f"Content-Type must be {PROTOBUF}, {PROTOBUF};proto={V1} or {PROTOBUF};proto={V2}."
            )
        return None

    def encoding(self, scope: Scope) -> str | Failure:
        """Nothing is left for the reader to inflate: snappy is the protocol's own, and what has no header is snappy
        too, as for a Prometheus that receives."""
        values = [value for name, value in scope["headers"] if name == b"content-encoding"]
        if [value.strip().lower() for value in values] in ([], [b"snappy"]):
            return ""
        return http_failure(415, "Content-Encoding must be snappy (its block format).")

    async def take(self, scope: Scope, signal: Signal, read: Read) -> Accepted | Failure:
        answer, scope[_WRITTEN] = await self._writes.take(read, self._limit, second=message_of(scope) == V2)
        return answer

    def accepted(self, scope: Scope, signal: Signal, accepted: Accepted) -> Answer:
        headers = written_headers(scope, scope[_WRITTEN])
        if accepted.rejected or accepted.reason:
            return _text(400, accepted.reason or "Some samples are invalid and were not stored.", headers)
        return Answer(204, "", b"", headers)

    def failed(self, scope: Scope | None, failure: Failure) -> Answer:
        return failure_answer(scope, failure)

    def not_found(self, path: bytes) -> str:
        return f"There is nothing at this path; remote write goes to {PATHS[0]}."


def failure_answer(scope: Scope | None, failure: Failure) -> Answer:
    """The answer to a request of which nothing was taken."""
    headers = [] if scope is None else written_headers(scope, Written())
    return _text(failure.http_status, failure.message, headers)


def message_of(scope: Scope) -> str | None:
    """Which message the Content-Type announces; None for one that is not taken. Without the header it is 1.0's, as for
    a Prometheus that receives."""
    given = header(scope, b"content-type")
    if given is None:
        return V1
    kind, *parameters = (part.strip() for part in given.split(";"))
    if kind.lower() != PROTOBUF or sum(name == b"content-type" for name, _ in scope["headers"]) > 1:
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "proto":
            value = value.strip().strip('"')
            return value if value in (V1, V2) else None
    return V1


def written_headers(scope: Scope, written: Written) -> Headers:
    """What an answer to 2.0 says of what was written; 1.0 has no such thing."""
    if message_of(scope) != V2:
        return []
    return [
        (b"x-prometheus-remote-write-%b-written" % kind.encode(), b"%d" % count)
        for kind, count in written._asdict().items()
    ]


def _text(status: int, message: str, headers: Headers) -> Answer:
    return Answer(status, _TEXT, f"{capped(message)}\n".encode(), headers)
