"""Requests as senders send them: most hold 512 items of one instance of one service, some are a gateway's mixture."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from ares_otel.cli.bench.data import logs, metrics, traces
from ares_otel.cli.bench.data.fleet import make_fleet, weights
from ares_otel.cli.bench.data.packer import Packer
from ares_otel.cli.bench.data.story import Deed, Storyteller
from ares_otel.cli.bench.data.template import Template
from ares_otel.model.signal import LOGS, METRICS, TRACES, Signal

ITEMS_A_REQUEST = 512
"""`max_export_batch_size` of the SDK's batch processors, OpenTelemetry specification, "Batching processor"."""
WINDOW_NS = 60_000_000_000
"""The time that a set covers unless something else is asked for."""
_GATEWAY = 5
"""Exports in a gateway's request of metrics."""
_EPOCH = 1_700_000_000_000_000_000
"""What the times in templates count from."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Ready-made request bodies, every one different."""

    bodies: list[bytes]
    items: int


def joined(bodies: Sequence[bytes], items: int, batch: int) -> Iterator[bytes]:
    """The requests in fewer ones, as a Collector's batch processor makes them.

    Requests one after the other are one request: its only field is a list, and protobuf joins lists.

    Args:
        items: of each of the requests, about.
        batch: items of each request that is made, about.
    """
    together = max(1, round(batch / items))
    for start in range(0, len(bodies), together):
        yield b"".join(bodies[start : start + together])


class Source:
    """Requests from a fixed seed: the same arguments give the same bytes.

    One set of requests is built and repeated with other ids, moved in time. Traces are whole within a set; logs of the
    same source belong to its traces.
    """

    def __init__(self, seed: int, requests: int, *, window_ns: int = WINDOW_NS) -> None:
        """
        Args:
            requests: requests of spans in a set.
            window_ns: the time that one set covers.
        """
        self.seed = seed
        self.size = requests
        self.window_ns = window_ns
        self.fleet = make_fleet(seed)

    def requests(self, signal: Signal, count: int, *, now_ns: int, first: int = 0, batch: int = 0) -> Requests:
        """So many requests, the newest items just before `now_ns`.

        Args:
            first: number of the first set that is used.
            batch: items after which a request is full, when several are joined; 0 leaves them as they are.
        """
        made: list[bytes] = []
        items = 0
        number = first
        while len(made) < count:
            for template, body in self.set(signal, number, end_ns=now_ns):
                if len(made) < count:
                    made.append(body)
                    items += template.items
            number += 1
        return Requests(list(joined(made, items // len(made), batch)) if batch else made, items)

    def set(self, signal: Signal, number: int, *, end_ns: int) -> Iterator[tuple[Template, bytes]]:
        """The whole set once more, with ids that only `number` has, covering the window before `end_ns`."""
        source = random.Random(f"ids {self.seed} {number}")
        trace_bits, span_bits = source.getrandbits(128), source.getrandbits(64)
        later = end_ns - self.window_ns - _EPOCH
        for template in self.templates(signal):
            yield template, template.body(trace_bits, span_bits, later)

    def templates(self, signal: Signal) -> list[Template]:
        if signal is TRACES:
            return self._traces
        return self._logs if signal is LOGS else self._metrics

    def _story(self, spans: int) -> Iterator[list[Deed]]:
        teller = Storyteller(self.fleet, random.Random(f"story {self.seed}"))
        # The last trace may go on for a second after it began.
        return teller.traces(_EPOCH, _EPOCH + max(self.window_ns - 10**9, 1), spans)

    @cached_property
    def _traces(self) -> list[Template]:
        packer = Packer[Deed](TRACES, ITEMS_A_REQUEST, lambda deed, deeds: traces.scopes_of(deeds))
        for trace in self._story(self.size * ITEMS_A_REQUEST):
            for deed in trace:
                packer.add(deed, deed)
        return packer.templates()

    @cached_property
    def _logs(self) -> list[Template]:
        source = random.Random(f"logs {self.seed}")
        packer = Packer[LogRecord](LOGS, ITEMS_A_REQUEST, lambda deed, records: [logs.scope_of(deed, records)])
        for trace in self._story(self.size * ITEMS_A_REQUEST):
            for deed, record in logs.told_by(trace, source):
                packer.add(deed, record)
        return packer.templates()

    @cached_property
    def _metrics(self) -> list[Template]:
        """Exports of single instances, popular services' more often; every eighth is a gateway's of several."""
        source = random.Random(f"metrics {self.seed}")
        shares = weights(len(self.fleet))
        made = []
        for number in range(self.size):
            at = _EPOCH + self.window_ns * number // self.size
            request: Any = METRICS.request()
            first = self.fleet[number] if number < len(self.fleet) else source.choices(self.fleet, shares)[0]
            more = source.choices(self.fleet, shares, k=_GATEWAY - 1) if number % 8 == 7 else []
            for service in (first, *more):
                entry = request.resource_metrics.add()
                entry.resource.CopyFrom(service.resource(source.randrange(service.instances)))
                entry.scope_metrics.extend(metrics.exported_by(service, source, _EPOCH, at))
            made.append(Template(request.SerializeToString(), METRICS, METRICS.count(request)))
        return made
