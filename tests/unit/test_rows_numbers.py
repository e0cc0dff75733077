"""Numbers and buckets of the native encoder against what they must equal: orjson, and the reference."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import orjson
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.encoders import both, needs_native
from tests.support.otlp_samples import any_value, batch_of, logs_request, trace_request
from tests.support.rows_encoding import NOW, WINDOWS

pytestmark = needs_native
HIGHEST = 2**63 - 1


def _shown(values: Sequence[object]) -> bytes:
    """The JSON of an array of values as the native encoder writes it."""
    request = logs_request(records=[LogRecord(time_unix_nano=NOW, body=any_value(list(values)))])
    encoded = both(batch_of(request, received_ns=NOW), WINDOWS)
    assert not encoded.fallback
    return bytes(encoded.tables["service_logs"].data)


def test_random_doubles_are_those_of_orjson() -> None:
    source = random.Random(6)
    values = [struct.unpack("d", source.randbytes(8))[0] for _ in range(20_000)]
    finite = [value for value in values if value == value and abs(value) != float("inf")]
    assert orjson.dumps(finite) in _shown(finite)


def test_powers_of_two_and_their_neighbours_are_those_of_orjson() -> None:
    powers = [2.0**exponent for exponent in range(-1074, 1024)]
    bits = [struct.unpack("q", struct.pack("d", power))[0] for power in powers]
    values = [struct.unpack("d", struct.pack("q", number + step))[0] for number in bits for step in (-1, 0, 1)]
    finite = [value for value in values if abs(value) != float("inf") and value == value]
    assert orjson.dumps(finite) in _shown(finite)


def test_short_decimals_of_every_magnitude_are_those_of_orjson() -> None:
    digits = ("1", "-2", "5", "9.5", "1.25", "9.999", "123456789", "1234567890123456", "12345678901234567")
    values = [float(f"{number}e{exponent}") for exponent in range(-324, 308) for number in digits]
    finite = [value for value in values if abs(value) != float("inf")]
    assert orjson.dumps(finite) in _shown(finite)


def test_integers_are_those_of_orjson() -> None:
    values = [sign * 10**power + more for power in range(19) for sign in (1, -1) for more in (-1, 0, 1)]
    values += [-(2**63), HIGHEST, 0]
    assert orjson.dumps(values) in _shown(values)


def test_durations_of_every_size_have_the_milliseconds_and_the_bucket_of_the_reference() -> None:
    source = random.Random(6)
    durations = [0, 1, 2, HIGHEST, HIGHEST - 1, 2**53 - 1, 2**53, 2**53 + 1]
    durations += [1 << bits for bits in range(63)]
    durations += [source.getrandbits(bits) for bits in range(1, 64) for _ in range(20)]
    durations += [int(2 ** (bucket / 64)) + more for bucket in range(0, 64 * 62, 7) for more in (0, 1)]
    request: ExportTraceServiceRequest = trace_request(
        spans=[
            Span(
                trace_id=bytes([1]) * 16,
                span_id=bytes([1]) * 8,
                name=str(number % 50),
                start_time_unix_nano=NOW,
                end_time_unix_nano=NOW + duration,
            )
            for number, duration in enumerate(durations)
        ]
    )
    encoded = both(batch_of(request, received_ns=NOW), WINDOWS)
    assert not encoded.fallback
    assert encoded.stored == len(durations)


def test_a_sum_of_durations_stops_at_what_int8_holds() -> None:
    spans = [
        Span(trace_id=bytes([1]) * 16, span_id=bytes([1]) * 8, start_time_unix_nano=1, end_time_unix_nano=HIGHEST)
        for _ in range(3)
    ]
    request = trace_request(spans=spans)
    assert not both(batch_of(request, received_ns=NOW), WINDOWS).fallback


@pytest.mark.parametrize("traces", [1, 511, 512, 513, 2000])
def test_the_traces_of_a_minute_make_the_sketch_of_the_reference(traces: int) -> None:
    source = random.Random(traces)
    ids = [source.randbytes(16) for _ in range(traces)]
    records = [LogRecord(time_unix_nano=NOW, trace_id=source.choice(ids)) for _ in range(traces)]
    records += [LogRecord(time_unix_nano=NOW, trace_id=id_) for id_ in ids]
    request: ExportLogsServiceRequest = logs_request(records=records)
    assert not both(batch_of(request, received_ns=NOW), WINDOWS).fallback
