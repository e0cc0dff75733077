"""Remote write requests, and a running receiver in front of a recording consumer to send them to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import cramjam
import httpx

from ares_otel.model.prometheus.proto import remote_v1_pb2 as v1
from ares_otel.model.prometheus.proto import write_v2_pb2 as v2
from ares_otel.model.signal import METRICS
from ares_otel.pipeline.admission import Admission
from ares_otel.pipeline.component import BuildContext
from ares_otel.pipeline.telemetry import Telemetry
from ares_otel.receivers.prometheusremotewrite.receiver import FACTORY, RemoteWriteReceiver
from tests.support.recording import Recording

PATH = "/prometheus/api/v1/write"
V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
VERSIONS = {V1: "0.1.0", V2: "2.0.0"}
NOW_MS = 1_700_000_000_000

Sample = tuple[int, float]
"""Milliseconds and a value."""


@dataclass
class Told:
    """A TimeSeries, in words of either version."""

    labels: Mapping[str, str] | Sequence[tuple[str, str]]
    samples: Sequence[Sample] = ()
    histograms: Sequence[v2.Histogram] = ()
    exemplars: Sequence[tuple[Mapping[str, str], float, int]] = ()
    type: int = 0
    help: str = ""
    unit: str = ""
    created: int = 0
    starts: Sequence[int] = ()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return sorted(self.labels.items()) if isinstance(self.labels, Mapping) else list(self.labels)


def series(name: str, *samples: Sample, **labels: str) -> Told:
    """A series of the job `shop` with some samples."""
    return Told({"__name__": name, "job": "shop", "instance": "pod:80", **labels}, samples)


def request_v1(told: Iterable[Told], metadata: Iterable[v1.MetricMetadata] = ()) -> v1.WriteRequest:
    """A request of 1.0."""
    request = v1.WriteRequest(metadata=metadata)
    for one in told:
        made = request.timeseries.add()
        for name, value in one.pairs:
            made.labels.add(name=name, value=value)
        for time, number in one.samples:
            made.samples.add(value=number, timestamp=time)
        for histogram in one.histograms:
            made.histograms.add().MergeFromString(histogram.SerializeToString())
        for texts, number, time in one.exemplars:
            pairs = [v1.Label(name=name, value=value) for name, value in texts.items()]
            made.exemplars.add(labels=pairs, value=number, timestamp=time)
    return request


@dataclass
class Symbols:
    """The table of texts of a request of 2.0."""

    texts: dict[str, int] = field(default_factory=lambda: {"": 0})

    def __call__(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))


def request_v2(told: Iterable[Told]) -> v2.Request:
    """A request of 2.0."""
    request, ref = v2.Request(), Symbols()
    for one in told:
        made = request.timeseries.add(created_timestamp=one.created)
        made.labels_refs.extend(ref(text) for pair in one.pairs for text in pair)
        for place, (time, number) in enumerate(one.samples):
            start = one.starts[place] if place < len(one.starts) else 0
            made.samples.add(value=number, timestamp=time, start_timestamp=start)
        made.histograms.extend(one.histograms)
        for texts, number, time in one.exemplars:
            refs = [ref(text) for pair in texts.items() for text in pair]
            made.exemplars.add(labels_refs=refs, value=number, timestamp=time)
        if one.type or one.help or one.unit:
            made.metadata.CopyFrom(v2.Metadata(type=one.type, help_ref=ref(one.help), unit_ref=ref(one.unit)))  # type: ignore[arg-type]
    request.symbols.extend(ref.texts)
    return request


def packed(message: v1.WriteRequest | v2.Request | bytes) -> bytes:
    """A body."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bytes(cramjam.snappy.compress_raw(data))


def native(
    counts: Sequence[int] = (1, 2), *, schema: int = 3, time: int = NOW_MS, first: int = 0, **more: Any
) -> v2.Histogram:
    """A native histogram with positive buckets that follow each other, and whole counts."""
    deltas = [count - before for before, count in zip((0, *counts), counts, strict=False)]
    zero = int(more.pop("zero_count_int", 0))
    fields: dict[str, Any] = {
        "count_int": sum(counts) + zero,
        "sum": 1.5,
        "schema": schema,
        "zero_count_int": zero,
        "positive_deltas": deltas,
        "timestamp": time,
        **more,
    }
    made = v2.Histogram(**fields)
    if counts and "positive_spans" not in more:
        made.positive_spans.add(offset=first, length=len(counts))
    return made


@dataclass
class Running:
    """A started receiver."""

    receiver: RemoteWriteReceiver
    recording: Recording
    telemetry: Telemetry
    admission: Admission
    client: httpx.AsyncClient

    async def post(self, body: bytes, content_type: str | None = V1, path: str = PATH, **more: str) -> httpx.Response:
        """Posts a body; keywords are headers (`_` stands for `-`)."""
        headers = {"content-encoding": "snappy"} | {name.replace("_", "-"): value for name, value in more.items()}
        if content_type is not None:
            headers |= {
                "content-type": content_type,
                "x-prometheus-remote-write-version": VERSIONS.get(content_type, ""),
            }
        return await self.client.post(path, content=body, headers=headers)

    async def write(self, *told: Told, content_type: str = V1) -> httpx.Response:
        """Posts series."""
        request = request_v2(told) if content_type == V2 else request_v1(told)
        return await self.post(packed(request), content_type)

    def count(self, name: str, **labels: str) -> float:
        """A counter's value, 0 when it was never touched."""
        given = labels or {"receiver": "prometheusremotewrite", "transport": "http"}
        return self.telemetry.registry.get_sample_value(f"{name}_total", given) or 0.0


def written(answer: httpx.Response) -> tuple[int, int, int]:
    """Samples, histograms and exemplars, as the answer tells them."""
    kinds = ("Samples", "Histograms", "Exemplars")
    samples, histograms, exemplars = (
        int(answer.headers[f"X-Prometheus-Remote-Write-{kind}-Written"]) for kind in kinds
    )
    return samples, histograms, exemplars


@asynccontextmanager
async def running(
    *, admission_bytes: int = 256 * 1024 * 1024, services: Mapping[type, Any] | None = None, **options: Any
) -> AsyncIterator[Running]:
    """A receiver on a free port; keywords are its options."""
    telemetry, admission, recording = Telemetry(), Admission(admission_bytes), Recording()
    context = BuildContext("prometheusremotewrite", telemetry, admission, services=services or {})
    config = FACTORY.config.model_validate({"endpoint": "127.0.0.1:0", **options})
    receiver = FACTORY.build(context, config, {METRICS: recording})
    assert isinstance(receiver, RemoteWriteReceiver)
    await receiver.start()
    try:
        base = receiver.doors["prometheusremotewrite"]
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
            yield Running(receiver, recording, telemetry, admission, client)
    finally:
        await receiver.stop()
