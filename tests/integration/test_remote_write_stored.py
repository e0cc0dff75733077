"""What remote write brings is in the tables as it came: every sample under its labels, and a series is one row."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
import time
from collections.abc import Sequence

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ares_otel.model.batch import Batch
from ares_otel.model.prometheus.native_histogram import STALE_NAN
from ares_otel.model.signal import METRICS
from ares_otel.receivers.prometheusremotewrite.decode import decode_v1, decode_v2
from ares_otel.receivers.prometheusremotewrite.series import SeriesBook
from ares_otel.storage.partitions import read_windows
from ares_otel.storage.rows.restore import restore_request
from tests.support.encoders import encode_batch
from tests.support.otlp_compare import items_of
from tests.support.remote_write import Sample, Told, native, request_v1, request_v2
from tests.support.rows_store import store

NOW_NS = time.time_ns()
NOW_MS = NOW_NS // 10**6
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
LABELS = st.dictionaries(st.sampled_from(["job", "instance", "le", "é", "a.b"]), TEXTS, max_size=4)
SERIES = st.tuples(TEXTS, LABELS)
TIMES = st.integers(NOW_MS - 3_600_000, NOW_MS) | st.integers(1, NOW_MS)
VALUES = st.floats() | st.just(STALE_NAN)

Samples = Sequence[tuple[tuple[str, dict[str, str]], list[Sample]]]
_READ = """
SELECT m.metric_name, m.labels, s.value, s.flags, s.timestamp, s.original_time_unix_nano AS original
FROM metric_series m JOIN metric_samples s USING (series_id) WHERE s.tenant_id = $1
"""


def told_of(samples: Samples) -> list[Told]:
    return [Told({**labels, "__name__": name}, some) for (name, labels), some in samples]


def payloads(samples: Samples) -> list[bytes]:
    """The same samples in requests of both versions, in another order the second time."""
    book = SeriesBook(2**20)
    told = told_of(samples)
    return [
        decode_v1(request_v1(told).SerializeToString(), NOW_NS, book).payload,
        decode_v2(request_v2(reversed(told)).SerializeToString(), NOW_NS, book).payload,
    ]


def test_every_sample_is_in_the_tables_bit_by_bit_and_every_series_once(emptied_database_url: str) -> None:
    tenants = itertools.count(1)

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(
        samples=st.lists(
            st.tuples(SERIES, st.lists(st.tuples(TIMES, VALUES), min_size=1, max_size=3)),
            min_size=1,
            max_size=4,
            unique_by=lambda one: (one[0][0], frozenset(one[0][1].items())),
        )
    )
    def check(samples: Samples) -> None:
        runner.run(stored(samples, next(tenants)))

    async def stored(samples: Samples, tenant: int) -> None:
        windows = await read_windows(connection)
        for payload in payloads(samples):
            encoded = encode_batch(
                Batch(METRICS, payload, tenant_id=tenant, received_ns=NOW_NS, receiver="w", transport="http"), windows
            )
            assert not encoded.reasons
            await store(connection, encoded)
        rows = await connection.fetch(_READ, tenant)
        found = sorted(
            (
                row["metric_name"],
                sorted(json.loads(row["labels"]).items()),
                row["original"] // 10**6 if row["original"] else round(row["timestamp"].timestamp() * 1000),
                struct.pack(">d", STALE_NAN if row["flags"] else row["value"]).hex(),
            )
            for row in rows
        )
        expected = sorted(
            (name, sorted(labels.items()), at, struct.pack(">d", value).hex())
            for (name, labels), some in samples
            for at, value in some
        )
        assert found == sorted(expected * 2)
        series = await connection.fetchval("SELECT count(*) FROM metric_series WHERE tenant_id = $1", tenant)
        assert series == len(samples)

    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(emptied_database_url))
        check()
        runner.run(connection.close())


async def test_samples_and_histograms_come_back_as_they_were_handed_on(emptied_database_url: str) -> None:
    """OTLP in equals OTLP out, for what remote write makes of it."""
    exemplars = [({"trace_id": "0af7651916cd43dd8448eb211c80319c", "user": "u"}, 0.5, NOW_MS)]
    told = [
        Told({"__name__": "a_total", "job": "j"}, [(NOW_MS, 1.0), (NOW_MS + 1, STALE_NAN)], exemplars=exemplars),
        Told({"__name__": "h", "job": "j"}, histograms=[native(time=NOW_MS, zero_count_int=2, zero_threshold=0.25)]),
        Told(
            {"__name__": "h", "job": "j"},
            histograms=[native((1, 2, 3), schema=-53, custom_values=[1.0, 2.0], time=NOW_MS)],
        ),
        Told({"__name__": "h", "job": "j"}, histograms=[native(time=NOW_MS + 1, sum=STALE_NAN, count_int=0)]),
    ]
    decoded = decode_v2(request_v2(told).SerializeToString(), NOW_NS, SeriesBook(2**20))
    assert not decoded.reason
    connection = await asyncpg.connect(emptied_database_url)
    batch = Batch(METRICS, decoded.payload, received_ns=NOW_NS, receiver="w", transport="http")
    encoded = encode_batch(batch, await read_windows(connection))
    assert not encoded.reasons
    await store(connection, encoded)
    restored = await restore_request(connection, METRICS, tenant_id=0)
    await connection.close()
    assert items_of(restored) == items_of(batch.message())
