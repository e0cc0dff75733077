"""An ASGI app that takes telemetry by POST: paths, CORS, encodings, bounded bodies, errors. What a request and its
answers look like is the protocol's. The host, the origin and the time of a body are checked by the door."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import SenderGone
from ares_otel.model.signal import Signal
from ares_otel.pipeline.admission import Reservation
from ares_otel.pipeline.http_protocol import ErrorBody
from ares_otel.receivers.serving.body import BodyReader, content_encoding, header
from ares_otel.receivers.serving.cors import Cors, Headers
from ares_otel.receivers.serving.http_config import HttpServerConfig
from ares_otel.receivers.serving.intake import RequestIntake
from ares_otel.receivers.serving.status import Failure, http_failure

TRANSPORT = "http"

Read = Callable[[Reservation], Awaitable[bytes]]


class Answer(NamedTuple):
    """Status, content type, body and further headers of an answer. Without a body there is no content type."""

    status: int
    content_type: str
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()


class PostApp(ABC):
    """The app: one path for each signal."""

    def __init__(self, config: HttpServerConfig, intake: RequestIntake, paths: Mapping[str, Signal]) -> None:
        self._signals = {path.encode("ascii"): signal for path, signal in paths.items()}
        self._reader = BodyReader(config.max_request_body_size, intake.workers)
        self._intake = intake
        self.cors = Cors(config.cors)

    def takes(self, path: str) -> bool:
        """Whether there is something at this path."""
        return path.encode("ascii") in self._signals

    @abstractmethod
    def media_failure(self, scope: Scope) -> Failure | None:
        """What is wrong with the type of the body, or with what goes with it."""

    @abstractmethod
    async def take(self, scope: Scope, signal: Signal, read: Read) -> Accepted | Failure:
        """Takes the request. `read` gives its inflated body. Raises SenderGone as `read` does."""

    @abstractmethod
    def accepted(self, scope: Scope, signal: Signal, accepted: Accepted) -> Answer:
        """The answer to a request that was taken, in full or in part."""

    @abstractmethod
    def failed(self, scope: Scope | None, failure: Failure) -> Answer:
        """The answer to a request that was not."""

    def encoding(self, scope: Scope) -> str | Failure:
        """How the body is encoded, as `content_encoding` has it."""
        return content_encoding(scope)

    def not_found(self, path: bytes) -> str:
        """What is said about a path that is not served."""
        return "There is nothing at this path."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"This door does not serve {scope['type']}")
        cors = self.cors.headers(header(scope, b"origin")) if self.cors.enabled else []
        signal = self._signals.get(scope["raw_path"])
        if signal is None:
            failure = http_failure(404, self.not_found(scope["raw_path"]))
            await self._refuse(scope, send, None, failure, cors)
        elif scope["method"] == "OPTIONS" and self._is_preflight(scope):
            await self._preflight(scope, send)
        elif scope["method"] != "POST":
            failure = http_failure(405, "Send telemetry with POST.")
            await self._refuse(scope, send, signal, failure, [*cors, (b"allow", b"POST")])
        else:
            await self._export(scope, receive, send, signal, cors)

    def error_body(self, scope: Scope | None, status: int, message: str) -> ErrorBody:
        """Body of an error that the door answers; also counts it."""
        failure = http_failure(status, message)
        self._intake.refused(None, TRANSPORT, failure.reason)
        answer = self.failed(scope, failure)
        return ErrorBody(answer.content_type, answer.body, [*answer.headers, *_retry_after(failure)])

    async def _export(self, scope: Scope, receive: Receive, send: Send, signal: Signal, cors: Headers) -> None:
        if (failure := self.media_failure(scope)) is not None:
            await self._refuse(scope, send, signal, failure, cors)
            return
        encoding = self.encoding(scope)
        if isinstance(encoding, Failure):
            await self._refuse(scope, send, signal, encoding, cors)
            return

        async def read(reservation: Reservation) -> bytes:
            return await self._reader.read(scope, receive, reservation, encoding)

        try:
            answer = await self.take(scope, signal, read)
        except SenderGone:
            return
        if isinstance(answer, Failure):
            await send_answer(send, self.failed(scope, answer), [*cors, *_retry_after(answer)])
        else:
            await send_answer(send, self.accepted(scope, signal, answer), cors)

    def _is_preflight(self, scope: Scope) -> bool:
        return self.cors.enabled and header(scope, b"access-control-request-method") is not None

    async def _preflight(self, scope: Scope, send: Send) -> None:
        asked = header(scope, b"access-control-request-headers") or ""
        headers = self.cors.preflight(header(scope, b"origin") or "", asked)
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(
        self, scope: Scope, send: Send, signal: Signal | None, failure: Failure, headers: Headers
    ) -> None:
        self._intake.refused(signal, TRANSPORT, failure.reason)
        await send_answer(send, self.failed(scope, failure), [*headers, *_retry_after(failure)])


async def send_answer(send: Send, answer: Answer, headers: Headers) -> None:
    kind: Headers = [(b"content-type", answer.content_type.encode("ascii"))] if answer.content_type else []
    start: Headers = [*kind, (b"content-length", b"%d" % len(answer.body)), *answer.headers, *headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": start})
    await send({"type": "http.response.body", "body": answer.body})


def _retry_after(failure: Failure) -> Headers:
    value = failure.retry_after_header
    return [] if value is None else [(b"retry-after", value)]
