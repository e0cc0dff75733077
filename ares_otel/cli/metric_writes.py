"""Metrics that are written to the HTTP API's port: they go the same way as to the receiver's own.

In one process it is the receiver itself that takes them. With workers, where the receivers are in other processes,
requests are handed on to the receiver's door there, as they came. What that answers is the answer: it is a promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from ares_otel.cli.ingest import Ingest, LocalIngest
from ares_otel.model.errors import Overloaded, Rejected, Retryable, SenderGone
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.grace import Stages
from ares_otel.pipeline.http_protocol import ErrorBodies, ErrorBody
from ares_otel.receivers.otlp import http_app as otlp
from ares_otel.receivers.otlp.config import OtlpReceiverConfig
from ares_otel.receivers.otlp.receiver import OtlpReceiver
from ares_otel.receivers.prometheusremotewrite import http_app as remote_write
from ares_otel.receivers.prometheusremotewrite.config import RemoteWriteReceiverConfig
from ares_otel.receivers.prometheusremotewrite.receiver import RemoteWriteReceiver
from ares_otel.receivers.serving.body import BodyReader
from ares_otel.receivers.serving.http_app import Answer, send_answer
from ares_otel.receivers.serving.status import Failure, failure_of, http_failure
from ares_otel.receivers.serving.workers import Workers

MIB = 1024 * 1024
HANDED_ON_MIB = 64
"""Memory for requests that are on their way to a worker; at least two of the largest fit."""
ANSWER_SECONDS = 60.0
"""After which a worker's answer is not waited for: the sender is told to come again."""
_CONNECT_SECONDS = 5.0
_HEADERS = frozenset({"content-type", "retry-after", "allow"})
_HEADER_PREFIX = "x-prometheus-remote-write-"
_DROPPED = frozenset({b"host", b"connection", b"transfer-encoding", b"content-length", b"expect", b"origin"})


class _Target(NamedTuple):
    """Whose requests a path takes."""

    path: str
    component: str
    """Type of the receiver."""
    door: str
    """Name of its HTTP door; the id of the receiver, where it is the door's name too."""
    failed: Callable[[Scope | None, Failure], Answer]
    missing: str


_OTLP = _Target(
    otlp.PROMETHEUS_PATH,
    "otlp",
    "otlp-http",
    otlp.failure_answer,
    "No pipeline of this Ares takes metrics from an otlp receiver (with --workers: one with protocols.http); add one "
    "to the pipeline configuration.",
)
_REMOTE_WRITE = _Target(
    "/prometheus/api/v1/write",
    "prometheusremotewrite",
    "prometheusremotewrite",
    remote_write.failure_answer,
    "No metrics pipeline of this Ares has a prometheusremotewrite receiver; add one to the pipeline configuration.",
)
PATHS: Mapping[str, _Target] = {target.path: target for target in (_REMOTE_WRITE, _OTLP)}


class MetricWrites:
    """An ASGI app that takes requests on `PATHS` for whatever configuration runs now."""

    def __init__(self, ingest: Callable[[], Ingest | None], config: PipelineConfig) -> None:
        """
        Args:
            ingest: gives the running pipelines; None while there are none.
            config: of the start, from which the largest body is; a reload does not change that.
        """
        self._ingest = ingest
        largest = _largest_body(config)
        self._admission = Admission(max(HANDED_ON_MIB * MIB, 2 * largest))
        self._reader = BodyReader(largest, Workers())
        self._client: httpx.AsyncClient | None = None

    async def stop(self) -> None:
        """Closes the connections to workers. Safe twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = PATHS[scope["path"]]
        ingest = self._ingest()
        if ingest is None or (isinstance(ingest, LocalIngest) and not ingest.running):
            failure = failure_of(Retryable("Ares is starting, or stopping; send the request again."))
            await _send_failure(target, scope, send, failure)
        elif isinstance(ingest, LocalIngest):
            app = _app_of(ingest, target)
            if app is None:
                await _send_failure(target, scope, send, http_failure(404, target.missing))
            else:
                await app({**scope, "raw_path": scope["path"].encode("ascii")}, receive, send)
        else:
            await self._hand_on(target, _address(ingest.doors, target), scope, receive, send)

    async def _hand_on(self, target: _Target, url: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        if url is None:
            await _send_failure(target, scope, send, http_failure(404, target.missing))
            return
        try:
            with self._admission.reservation() as reservation:
                body = await self._reader.read(scope, receive, reservation, "")
                answer = await self._ask(url + scope["path"], scope, body)
        except SenderGone:
            return
        except (Rejected, Retryable) as error:
            await _send_failure(target, scope, send, failure_of(error))
            return
        headers = [
            (name.encode("ascii"), value.encode("latin-1"))
            for name, value in answer.headers.items()
            if name in _HEADERS or name.startswith(_HEADER_PREFIX)
        ]
        await send_answer(send, Answer(answer.status_code, "", answer.content), headers)

    async def _ask(self, url: str, scope: Scope, body: bytes) -> httpx.Response:
        """What the worker answers. Raises Retryable."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=_CONNECT_SECONDS),
                # Each request finds the worker that is free to take it: connections, not requests, are spread.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                trust_env=False,
            )
        headers = [(name, value) for name, value in scope["headers"] if name not in _DROPPED]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._client.request(scope["method"], url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError):
            raise Overloaded("No worker took the request in time; send it again.") from None


def with_paths(before: ErrorBodies) -> ErrorBodies:
    """Bodies of errors that the API's door gives by itself: on `PATHS` they have the shape that the senders know."""

    def body(scope: Scope | None, status: int, message: str) -> ErrorBody:
        target = None if scope is None else PATHS.get(scope["path"])
        if target is None:
            return before(scope, status, message)
        answer = target.failed(scope, http_failure(status, message))
        return ErrorBody(answer.content_type, answer.body, answer.headers)

    return body


def make_metric_writes(ingest: Callable[[], Ingest | None], config: PipelineConfig, stack: Stages) -> MetricWrites:
    """The app; `stack` stops it."""
    made = MetricWrites(ingest, config)
    stack.push_async_callback(made.stop)
    return made


def _largest_body(config: PipelineConfig) -> int:
    limits = [RemoteWriteReceiverConfig().max_request_body_size]
    for spec in config.receivers.values():
        if isinstance(spec.config, RemoteWriteReceiverConfig):
            limits.append(spec.config.max_request_body_size)
        elif isinstance(spec.config, OtlpReceiverConfig) and spec.config.protocols.http is not None:
            limits.append(spec.config.protocols.http.max_request_body_size)
    return max(limits)


def _app_of(ingest: LocalIngest, target: _Target) -> ASGIApp | None:
    """The receiver's app: of the one that is called as its type is, else of the first of the configuration."""
    apps: dict[str, ASGIApp] = {
        id: receiver.lent
        for id, receiver in ingest.receivers.items()
        if isinstance(receiver, RemoteWriteReceiver if target is _REMOTE_WRITE else OtlpReceiver)
        and receiver.lent.takes(target.path)
    }
    return apps.get(target.component) or next(iter(apps.values()), None)


def _address(doors: Mapping[str, str], target: _Target) -> str | None:
    names = sorted(name for name in doors if name.partition("/")[0] == target.door)
    return doors[names[0]] if names else None


async def _send_failure(target: _Target, scope: Scope, send: Send, failure: Failure) -> None:
    retry = failure.retry_after_header
    await send_answer(send, target.failed(scope, failure), [] if retry is None else [(b"retry-after", retry)])
