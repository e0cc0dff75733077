"""How a Zipkin body becomes a batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ares_otel.model.batch import DEFAULT_TENANT, Accepted, Batch, Consumer, batch_key
from ares_otel.model.signal import TRACES, Signal
from ares_otel.pipeline.admission import Reservation
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.occasional import Occasional
from ares_otel.receivers.serving.http_app import TRANSPORT
from ares_otel.receivers.serving.intake import Arrival, Made, RequestIntake
from ares_otel.receivers.serving.status import Failure
from ares_otel.receivers.serving.workers import Workers
from ares_otel.receivers.zipkin.decode import Decode, decode_json, decode_proto, json_memory, proto_memory

DECODE_INLINE_BYTES = 64 * 1024
"""Up to this size a body is decoded on the event loop: some 150 spans, which take ten milliseconds."""


class ZipkinIntake(RequestIntake):
    """Takes lists of spans in either encoding."""

    def __init__(
        self,
        context: BuildContext,
        consumers: Mapping[Signal, Consumer],
        workers: Workers,
        *,
        parse_string_tags: bool,
    ) -> None:
        super().__init__(context, consumers, workers)
        self._receiver = context.id
        self._parse_string_tags = parse_string_tags
        self._warnings = Occasional(context)

    async def take(self, read: Callable[[Reservation], Awaitable[bytes]], *, proto: bool) -> Accepted | Failure:
        """Takes one request: see `take_body`. The sender of a request that is stored in part is told so by nobody but
        the body of the answer, which no client reads: the log says it too, now and then."""
        answer = await self.take_body(TRACES, TRANSPORT, read, partial(self._make, proto))
        if isinstance(answer, Accepted) and answer.rejected:
            self._warnings.warn("spans were rejected: %s", answer.reason)
        return answer

    async def _make(self, proto: bool, body: bytes, arrival: Arrival) -> Made:
        run = self.workers.run
        decode: Decode
        estimate, decode = (proto_memory, decode_proto) if proto else (json_memory, decode_json)
        arrival.reservation.grow(await run(len(body), lambda: estimate(body)))
        return await run(len(body), lambda: self._batch(body, decode, arrival), inline_bytes=DECODE_INLINE_BYTES)

    def _batch(self, body: bytes, decode: Decode, arrival: Arrival) -> Made:
        decoded = decode(body, parse_string_tags=self._parse_string_tags)
        batch = Batch(
            TRACES,
            decoded.request.SerializeToString(),
            key=batch_key(DEFAULT_TENANT, TRACES, body),
            received_ns=arrival.received_ns,
            receiver=self._receiver,
            transport=TRANSPORT,
            deadline=arrival.deadline,
            message=decoded.request,
            items=decoded.spans,
        )
        return Made(batch, decoded.rejected, decoded.reason)
