"""Pages that are scraped again and again, and what becomes of them in OTLP."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from ares_otel.model.prometheus.proto import exposition_pb2 as proto
from ares_otel.receivers.prometheus.assembling import Assembled, Assembler, end_all
from ares_otel.receivers.prometheus.labelling import Labelling
from ares_otel.receivers.prometheus.page import Page
from ares_otel.receivers.prometheus.protobuf_page import read_protobuf
from ares_otel.receivers.prometheus.streams import TargetState
from ares_otel.receivers.prometheus.text_page import read_text

SECOND = 10**9
TARGET = (("instance", "host:80"), ("job", "shop/app"))


class Scraped:
    """A target that is scraped again and again; times are 1, 2, 3 … seconds."""

    def __init__(self, **labelling: Any) -> None:
        self.state = TargetState()
        self.labelling = Labelling(TARGET, **labelling)
        self.assembled = Assembled()
        self.options: dict[str, Any] = {"honor_timestamps": True, "track_timestamps": False, "sample_limit": 0}

    def text(self, text: str, *, openmetrics: bool = False) -> dict[str, Metric]:
        return self._page(read_text(text.encode(), self.state.known, openmetrics=openmetrics))

    def protobuf(self, *families: proto.MetricFamily, native: bool = True, classic: bool = False) -> dict[str, Metric]:
        return self._page(read_protobuf(delimited(*families), self.state.known, native=native, classic=classic))

    def _page(self, page: Page) -> dict[str, Metric]:
        self.state.round += 1
        time_ns = self.state.round * SECOND
        self.assembled = Assembler(self.state, self.labelling, page, time_ns).assemble(**self.options)
        gone = end_all(self.state, time_ns, self.assembled.requests)
        self.requests = [request for request, _ in self.assembled.requests.made]
        self.state.stored(gone)
        self.state.tidy(page.families, self.assembled.scraped)
        return {
            metric.name: metric
            for request in self.requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def delimited(*families: proto.MetricFamily) -> bytes:
    body = b""
    for family in families:
        encoded, size = family.SerializeToString(), family.ByteSize()
        while size > 0x7F:
            body, size = body + bytes([size & 0x7F | 0x80]), size >> 7
        body += bytes([size]) + encoded
    return body


def kind(metric: Metric) -> str:
    return str(metric.WhichOneof("data"))


def points(metric: Metric) -> Any:
    return getattr(metric, kind(metric)).data_points
