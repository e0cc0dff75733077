"""Prometheus's own suite for receivers of remote write 2.0, against the real command; then the tables hold what it
wrote, for the suite never looks itself."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import asyncpg
import cramjam
import pytest

from ares_otel.model.prometheus.native_histogram import is_stale_bits
from ares_otel.model.prometheus.proto.remote_v1_pb2 import WriteRequest
from ares_otel.model.prometheus.proto.write_v2_pb2 import Request
from ares_otel.model.prometheus.verbatim import SCOPE_NAME
from tests.support import remote_write_suite
from tests.support.ares_process import AresProcess
from tests.support.http_recorder import Exchange, http_recorder
from tests.support.remote_write_suite import Outcome

pytestmark = pytest.mark.timeout(remote_write_suite.BUILD_SECONDS + 120)

PATH = "/prometheus/api/v1/write"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
WRITTEN = {
    "samples": "x-prometheus-remote-write-samples-written",
    "histograms": "x-prometheus-remote-write-histograms-written",
    "exemplars": "x-prometheus-remote-write-exemplars-written",
}

REFUSED = (
    "TestSingleMetric/*/simple_metric_without_name_label",
    "TestSingleMetric/*/empty_metric",
    "TestMultipleMetrics/*/multiple_metrics,_without_name_label",
    "TestMultipleMetrics/*/multiple_metrics,_1_without_name_label",
    "TestHistograms/bad_count_histogram",
    "TestExemplarValidation/exemplar_without_name_label",
    "TestExemplarValidation/exemplar_with_empty_name",
    "TestMetadataValidation/metadata_without_name_label",
    "TestMetadataValidation/metadata_with_empty_name",
    "TestBadContentTypes/*",
    "TestBadContentEncodings/*",
    "TestCorruptRequestBody",
    "TestRW1ErrorHandling",
    # The specification: a series MUST have samples or histograms. The suite would like these two, as SHOULD.
    "TestEdgeCaseCombinations/metadata_without_data",
    "TestEdgeCaseCombinations/exemplars_without_data",
)
"""The requests of the suite that are refused; all others are stored."""


@dataclass(frozen=True)
class Run:
    """The suite's tests, and what went over the line meanwhile."""

    outcomes: dict[str, Outcome]
    exchanges: list[Exchange]


@pytest.fixture(scope="module")
def suite(ares: AresProcess, tmp_path_factory: pytest.TempPathFactory) -> Run:
    try:
        binary = remote_write_suite.install()
    except remote_write_suite.UnavailableError as error:
        pytest.skip(str(error))
    with http_recorder(ares.http) as relay:
        outcomes = remote_write_suite.run(binary, f"{relay.url}{PATH}", tmp_path_factory.mktemp("suite"))
    return Run(outcomes, relay.exchanges)


def test_the_suite_passes(suite: Run) -> None:
    failed = {f"{one.level} {name}": one.lines for name, one in suite.outcomes.items() if not one.passed}
    assert not failed
    assert len(suite.outcomes) > 150  # it ran, whole
    assert {one.level for one in suite.outcomes.values()} >= {"MUST", "SHOULD", "MAY"}


def test_only_what_has_to_be_refused_is_refused(suite: Run) -> None:
    """The suite lets a 400 pass wherever it expects success."""
    expected = {name for name in suite.outcomes if any(fnmatchcase(name, pattern) for pattern in REFUSED)}
    refused = {name: one for name, one in suite.outcomes.items() if one.status >= 400}
    assert refused.keys() == expected
    assert all(any(one.lines) for one in refused.values())  # each says why
    unsupported = {name for name, one in refused.items() if one.status == 415}
    assert unsupported == {name for name in expected if name.startswith("TestBadContent")}
    assert {one.status for name, one in refused.items() if name not in unsupported} == {400}
    assert {one.status for name, one in suite.outcomes.items() if name not in expected} == {204}


async def test_all_that_was_answered_as_written_is_in_the_tables(suite: Run, database: asyncpg.Connection) -> None:
    sent = [written for exchange in suite.exchanges if exchange.status == 204 for written in written_by(exchange)]
    found = [stored async for stored in rows(database)]
    missing = [one for one in sent if not any(same(one, row) for row in found)]
    assert not missing
    partly = sum(count_of(exchange, "samples") for exchange in suite.exchanges if exchange.status == 400)
    points = {(one.name, one.labels, one.ms) for one in sent}
    assert len(found) == len(points) + partly  # nothing twice, and nothing that was not sent


async def test_the_counts_of_the_answers_are_those_of_the_rows(suite: Run, database: asyncpg.Connection) -> None:
    for exchange in suite.exchanges:
        if exchange.headers["content-type"] == V2 and exchange.status == 204:
            request = Request.FromString(bytes(cramjam.snappy.decompress_raw(exchange.body)))
            for kind in WRITTEN:
                assert count_of(exchange, kind) == sum(len(getattr(series, kind)) for series in request.timeseries)
    exemplars = await database.fetchval(
        "SELECT sum(jsonb_array_length(exemplars)) FROM "
        "(SELECT exemplars FROM metric_samples UNION ALL SELECT exemplars FROM metric_distributions) AS points"
    )
    assert exemplars == sum(count_of(exchange, "exemplars") for exchange in suite.exchanges)


@dataclass(frozen=True)
class Point:
    """A sample; of a histogram: the number of measurements and their sum."""

    name: str
    labels: str
    ms: int
    value: float | None = None
    """None: the series ended (stale marker), or it is a histogram."""
    count: int | None = None
    sum: float | None = None


def written_by(exchange: Exchange) -> Iterator[Point]:
    """The points of a request, read by the messages alone."""
    body = bytes(cramjam.snappy.decompress_raw(exchange.body))
    if exchange.headers["content-type"] != V2:
        for old in WriteRequest.FromString(body).timeseries:
            names = {label.name: label.value for label in old.labels}
            yield from (Point(*_identity(names), sample.timestamp, _value(sample.value)) for sample in old.samples)
        return
    request = Request.FromString(body)
    for series in request.timeseries:
        texts = [request.symbols[ref] for ref in series.labels_refs]
        identity = _identity(dict(zip(texts[::2], texts[1::2], strict=True)))
        for sample in series.samples:
            yield Point(*identity, sample.timestamp, _value(sample.value))
        for histogram in series.histograms:
            yield Point(*identity, histogram.timestamp, None, histogram.count_int, histogram.sum)


async def rows(database: asyncpg.Connection) -> Any:
    """Every point that is stored."""
    for row in await database.fetch(
        """SELECT p.metric_name, p.labels::text, extract(epoch FROM p."timestamp") * 1000 AS ms, metric_value,
                  count, sum
           FROM service_metrics AS p JOIN metric_series USING (tenant_id, series_id)
           JOIN otel_scopes USING (tenant_id, scope_id) WHERE otel_scopes.name = $1""",
        SCOPE_NAME,
    ):
        value = row["metric_value"] if row["count"] is None else None
        labels = json.dumps(json.loads(row["labels"]), sort_keys=True)
        yield Point(row["metric_name"], labels, int(row["ms"]), value, row["count"], row["sum"])


def same(one: Point, other: Point) -> bool:
    """Bit by bit, where a NaN is one."""
    return (one.name, one.labels, one.ms, one.count) == (other.name, other.labels, other.ms, other.count) and (
        _bits(one.value) == _bits(other.value) and _bits(one.sum) == _bits(other.sum)
    )


def count_of(exchange: Exchange, kind: str) -> int:
    return int(exchange.answer_headers.get(WRITTEN[kind], 0))


def _identity(labels: dict[str, str]) -> tuple[str, str]:
    return labels["__name__"], json.dumps({k: v for k, v in labels.items() if k != "__name__"}, sort_keys=True)


def _value(value: float) -> float | None:
    return None if is_stale_bits(value) else value


def _bits(value: float | None) -> bytes | None:
    if value is None:
        return None
    return struct.pack(">d", math.nan if math.isnan(value) else value)
