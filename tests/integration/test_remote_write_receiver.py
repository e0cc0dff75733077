"""The `prometheusremotewrite` receiver over real HTTP, in front of a consumer that keeps what it gets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import cramjam
import pytest

from ares_otel.model.batch import Accepted
from ares_otel.model.errors import Overloaded, Rejected, Unavailable
from ares_otel.model.prometheus.metadata import MetadataBook, MetricMetadata
from ares_otel.model.prometheus.proto import remote_v1_pb2 as v1
from ares_otel.receivers.prometheusremotewrite.decode import MAX_SERIES
from tests.support.remote_write import (
    V1,
    V2,
    Told,
    native,
    packed,
    request_v1,
    request_v2,
    running,
    series,
    written,
)

NOW = time.time_ns() // 10**6
A, B = series("a_total", (NOW, 1.0), (NOW + 1, 2.0)), series("b", (NOW, 3.0))
BODY, BODY_2 = packed(request_v1([A, B])), packed(request_v2([A, B]))
both = pytest.mark.parametrize("content_type", [V1, V2], ids=["1.0", "2.0"])


@pytest.mark.parametrize("content_type", [V1, f"{V1};proto=prometheus.WriteRequest", "Application/X-Protobuf", None])
@pytest.mark.parametrize("path", ["/api/v1/write", "/prometheus/api/v1/write"])
async def test_1_0_is_taken_and_answered_204_with_nothing(content_type: str | None, path: str) -> None:
    async with running() as writing:
        answer = await writing.post(BODY, content_type, path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert not [name for name in answer.headers if name.startswith("x-prometheus")]
        [batch] = writing.recording.batches
        assert (batch.items, batch.receiver, batch.transport) == (3, "prometheusremotewrite", "http")
        assert writing.count("otelcol_receiver_accepted_metric_points") == 3
        assert writing.admission.used_bytes == 0


@pytest.mark.parametrize("content_type", [V2, V2.replace("=", '="') + '"', V2.replace(";", " ; ")])
async def test_2_0_is_told_what_was_written(content_type: str) -> None:
    exemplar = Told(A.labels, A.samples, exemplars=[({"x": "y"}, 1.0, NOW)])
    body = packed(request_v2([exemplar, B, Told({"__name__": "h"}, histograms=[native(time=NOW)])]))
    async with running() as writing:
        answer = await writing.post(body, content_type)
        assert (answer.status_code, answer.content) == (204, b"")
        assert written(answer) == (3, 1, 1)
        assert (
            writing.count("ares_otel_remote_write_exemplars", receiver="prometheusremotewrite", outcome="stored") == 1
        )


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "", f"{V1};proto=io.prometheus.write.v3.Request", f"{V1}; proto=", "text/plain"],
)
async def test_another_message_is_answered_415(content_type: str) -> None:
    async with running() as writing:
        answer = await writing.post(BODY_2, content_type)
        assert answer.status_code == 415
        assert "io.prometheus.write.v2.Request" in answer.text
        assert not writing.recording.batches


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate", "snappy, gzip", "identity"])
@both
async def test_another_encoding_is_answered_415(encoding: str, content_type: str) -> None:
    async with running() as writing:
        answer = await writing.post(BODY, content_type, content_encoding=encoding)
        assert answer.status_code == 415
        assert "snappy" in answer.text
        if content_type == V2:
            assert written(answer) == (0, 0, 0)


async def test_other_methods_and_paths_are_refused() -> None:
    async with running() as writing:
        answer = await writing.client.get("/api/v1/write")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await writing.post(BODY, path="/api/v1/write/")).status_code == 404
        assert "/api/v1/write" in (await writing.post(BODY, path="/write")).text


@both
async def test_an_empty_request_is_taken(content_type: str) -> None:
    async with running() as writing:
        answer = await writing.post(packed(b""), content_type)
        assert answer.status_code == 204
        if content_type == V2:
            assert written(answer) == (0, 0, 0)
        assert not writing.recording.batches


@both
async def test_what_is_wrong_is_answered_400_and_the_rest_is_stored(content_type: str) -> None:
    wrong = [
        Told({"a": "b"}, [(NOW, 1.0)]),
        series("ahead", (NOW + 3_600_000, 1.0), (NOW, 2.0)),
        Told({"__name__": "h"}, histograms=[native(time=NOW), native(time=NOW, count_int=7)]),
    ]
    async with running() as writing:
        answer = await writing.write(A, *wrong, B, content_type=content_type)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "__name__" in answer.text
        assert "ten minutes ahead" in answer.text
        if content_type == V2:
            assert written(answer) == (4, 1, 0)
        [batch] = writing.recording.batches
        assert batch.items == 5
        assert writing.count("ares_otel_receiver_rejected_metric_points") == 3
        assert writing.count("otelcol_receiver_accepted_metric_points") == 5


@both
async def test_a_request_that_is_wrong_as_a_whole_is_answered_400(content_type: str) -> None:
    async with running() as writing:
        for told in (Told({"a": "b"}, [(NOW, 1.0)]), Told({"__name__": "a", "b": ""}, [(NOW, 1.0)])):
            answer = await writing.write(told, content_type=content_type)
            assert answer.status_code == 400
            if content_type == V2:
                assert written(answer) == (0, 0, 0)
        for body in (b"", b"\x05\x00", BODY[:-3], b"\xff" * 20, packed(b"\x0a\xff\xff"), BODY + b"\x00"):
            answer = await writing.post(body, content_type)
            assert answer.status_code == 400, body
            if content_type == V2:
                assert written(answer) == (0, 0, 0)
        assert not writing.recording.batches


async def test_a_body_of_2_0_without_its_type_is_refused() -> None:
    async with running() as writing:
        answer = await writing.post(BODY_2, V1)
        assert answer.status_code == 400
        assert "proto=io.prometheus.write.v2.Request" in answer.text


async def test_the_framing_format_is_refused_with_a_word_on_it() -> None:
    async with running() as writing:
        answer = await writing.post(bytes(cramjam.snappy.compress(request_v1([A]).SerializeToString())))
        assert answer.status_code == 400
        assert "block format" in answer.text


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        (b"\xff\xff\xff\xff\x0f", 413),
        (b"\xff\xff\xff\x7f", 413),
        (b"\x80\x80\x40", 400),  # a MiB of 40 bytes
        (b"\xff\xff\xff\xff\xff\xff\x01", 400),
    ],
)
async def test_a_length_that_lies_is_refused_before_anything_is_allocated(claim: bytes, status: int) -> None:
    async with running(admission_bytes=1024 * 1024) as writing:
        answer = await writing.post(claim + b"\x00" * 40)
        assert answer.status_code == status
        assert writing.admission.used_bytes == 0


async def test_a_body_that_inflates_beyond_the_limit_is_answered_413() -> None:
    async with running(max_request_body_size=1000) as writing:
        big = packed(b"\x0a\x00" * 5000)
        assert len(big) < 1000
        answer = await writing.post(big)
        assert answer.status_code == 413
        assert "max_request_body_size" in answer.text


async def test_a_body_that_inflates_beyond_the_memory_budget_is_answered_503() -> None:
    async with running(admission_bytes=64 * 2**20) as writing:
        with writing.admission.reservation() as others:
            others.grow(60 * 2**20)
            answer = await writing.post(packed(b"\x0a\x00" * 30_000))
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
        assert writing.admission.used_bytes == 0


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\x0a\x00" * (2 * MAX_SERIES + 1), V1),
        (b"\x2a\x00" * (2 * MAX_SERIES + 1), V2),
        (b"\x22\x00" * (2 * MAX_SERIES + 1), V2),
        (b"\x0a\x8a\xb5\x18" + b"\x12\x00" * (MAX_SERIES + 1), V1),
    ],
    ids=["series", "series of 2.0", "symbols", "samples"],
)
async def test_a_small_body_with_a_million_parts_is_refused(body: bytes, content_type: str) -> None:
    async with running() as writing:
        answer = await writing.post(packed(body), content_type)
        assert answer.status_code in (400, 413)
        assert not writing.recording.batches
        assert writing.admission.used_bytes == 0


async def test_a_series_with_a_million_labels_is_refused_and_its_neighbour_is_not() -> None:
    request = request_v1([A])
    wide = request.timeseries.add()
    wide.labels.extend([v1.Label(name="a", value="b")] * 500_000)
    wide.samples.add(value=1.0, timestamp=NOW)
    async with running() as writing:
        answer = await writing.post(packed(request))
        assert answer.status_code == 400
        assert "more than 256 labels" in answer.text
        assert [batch.items for batch in writing.recording.batches] == [2]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded("full"), 503),
        (Unavailable("away", retry_after=7.2), 503),
        (RuntimeError("a bug"), 503),
        (Rejected("never"), 400),
    ],
)
@both
async def test_only_what_a_retry_can_help_is_answered_5xx(error: Exception, status: int, content_type: str) -> None:
    async with running() as writing:
        writing.recording.fail_with(error)
        answer = await writing.write(A, content_type=content_type)
        assert answer.status_code == status
        assert ("retry-after" in answer.headers) == (status == 503)
        if content_type == V2:
            assert written(answer) == (0, 0, 0)


@both
async def test_what_the_store_refuses_is_told_too(content_type: str) -> None:
    async with running() as writing:
        writing.recording.answer = lambda batch: Accepted(batch.items - 1, rejected=1, reason="one is poison")
        answer = await writing.write(A, B, content_type=content_type)
        assert (answer.status_code, answer.text) == (400, "one is poison\n")
        if content_type == V2:
            assert written(answer) == (2, 0, 0)


@both
async def test_a_retry_of_what_is_stored_is_told_the_full_counts(content_type: str) -> None:
    async with running() as writing:
        writing.recording.answer = lambda batch: Accepted(deduplicated=batch.items)
        answer = await writing.write(A, B, content_type=content_type)
        assert answer.status_code == 204
        if content_type == V2:
            assert written(answer) == (3, 0, 0)


@both
async def test_a_retry_has_the_same_key_and_another_request_has_not(content_type: str) -> None:
    async with running() as writing:
        for told in (A, A, B):
            await writing.write(told, content_type=content_type)
        first, again, other = (batch.key for batch in writing.recording.batches)
        assert first == again != other


async def test_many_writers_at_once_get_what_is_theirs() -> None:
    async with running() as writing:
        told = [[series(f"m{number}", *((NOW + at, 1.0) for at in range(number + 1)))] for number in range(20)]
        answers = await asyncio.gather(*(writing.write(*some, content_type=V2) for some in told))
        assert [written(answer) for answer in answers] == [(number + 1, 0, 0) for number in range(20)]


class Kept(MetadataBook):
    def __init__(self) -> None:
        self.found: list[MetricMetadata] = []

    def note(self, tenant_id: int, metadata: Iterable[MetricMetadata]) -> None:
        assert tenant_id == 0
        self.found += metadata


async def test_metadata_is_handed_on_by_itself() -> None:
    kept = Kept()
    message = v1.MetricMetadata(type=v1.MetricMetadata.GAUGE, metric_family_name="a", help="Of a.", unit="s")
    async with running(services={MetadataBook: kept}) as writing:
        assert (await writing.post(packed(request_v1([], [message])))).status_code == 204
        b = Told({"__name__": "b_total"}, [(NOW, 1.0)], type=1, help="Of b.")
        assert (await writing.write(b, content_type=V2)).status_code == 204
    assert kept.found == [MetricMetadata("a", "gauge", "s", "Of a."), MetricMetadata("b_total", "counter", "", "Of b.")]
    assert len(writing.recording.batches) == 1


async def test_parts_that_are_absurdly_large_are_refused_before_they_are_decoded() -> None:
    """What takes two bytes there can take fifty here."""
    request = request_v1([A])
    labels = [v1.Label(name=str(number), value="x") for number in range(20_000)]
    request.timeseries[0].exemplars.add(labels=labels, value=1.0, timestamp=NOW)
    wide = request.timeseries.add(labels=request.timeseries[0].labels)
    wide.histograms.add(timestamp=NOW).positive_spans.extend([v1.BucketSpan()] * 300_000)
    long = request.timeseries.add()
    long.labels.extend([v1.Label(name="__name__", value="a"), v1.Label(name="b", value="c" * 100_000)])
    long.samples.add(value=1.0, timestamp=NOW)
    async with running() as writing:
        answer = await writing.post(packed(request))
        assert answer.status_code == 400
        for reason in ("an exemplar of a_total", "a histogram takes more than 512 KiB", "more than 64 KiB"):
            assert reason in answer.text
        assert [batch.items for batch in writing.recording.batches] == [2]
