"""A remote write body → OTLP. What is wrong is left out, with a reason, and costs the rest nothing.

Sources: Prometheus Remote-Write 1.0 and 2.0 (2.0-rc.4, and rc.3's `created_timestamp`).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from ares_otel.model.errors import Rejected, TooLarge
from ares_otel.model.prometheus.metadata import MetricMetadata
from ares_otel.model.prometheus.proto import write_bare_pb2 as bare
from ares_otel.model.prometheus.proto.write_v2_pb2 import Exemplar as ExemplarV2
from ares_otel.model.varint import length_at
from ares_otel.receivers.prometheusremotewrite.encoding import field
from ares_otel.receivers.prometheusremotewrite.points import MAX_EXEMPLAR_BYTES, Points
from ares_otel.receivers.prometheusremotewrite.series import (
    PARTS,
    TYPES,
    Series,
    SeriesBook,
    WrongSeries,
    check_count,
    check_size,
    make_series,
)
from ares_otel.receivers.prometheusremotewrite.written import Complaints, Decoded

MAX_SERIES = 200_000
"""Series, samples, or symbols in one request. Prometheus sends 2,000 samples."""
_SERIES_TAG_1, _SERIES_TAG_2 = 0x0A, 0x2A
_SERIES_BYTES, _OTHER_BYTES, _TINY_BYTES = 700, 300, 64
_BYTES_1, _BYTES_2 = 5, 11
_SMALL = 8
_TAG_OR_SMALL = bytes(0 if byte < _SMALL else 1 if byte in b"\x0a\x12\x1a\x22\x2a" else 2 for byte in range(256))
"""Translates a body so that `\\1\\0` stands where a field of less than `_SMALL` bytes may stand."""
MAX_METADATA_BYTES = 64 * 1024

_WITH_PARTS = frozenset(TYPES.index(name) for name in ("histogram", "gaugehistogram", "summary"))

T = TypeVar("T", bound=Message)

Decode = Callable[[bytes, int, SeriesBook], Decoded]
"""Body, time of the request in nanoseconds, known series → what becomes of it."""


def decode_v1(body: bytes, now_ns: int, book: SeriesBook) -> Decoded:
    """Decodes a `prometheus.WriteRequest`.

    Raises:
        Rejected: it is none.
        TooLarge: it holds too many series, or samples.
    """
    request = _parsed(bare.RequestV1, body)
    if body and not request.timeseries and not request.metadata:
        raise Rejected(
            "The body holds no series of remote write 1.0. A request of 2.0 must say so in its Content-Type: "
            "application/x-protobuf;proto=io.prometheus.write.v2.Request."
        )
    complaints = Complaints()
    points = Points(now_ns, complaints)
    with_exemplars = _have_exemplars(request.timeseries)
    if with_exemplars:
        points.expect_exemplars()
    for told in request.timeseries:
        try:
            series = _series_v1(told.labels, book)
        except WrongSeries as error:
            _reject(points, complaints, told, error)
            continue
        points.add_samples(series, told.samples)
        if told.histograms:
            points.add_histograms(series, told.histograms)
        if with_exemplars:
            for encoded in told.exemplars:
                if len(encoded) > MAX_EXEMPLAR_BYTES:
                    points.refuse_exemplar(series, "it has too many labels, or too long ones")
                    continue
                exemplar = _part(bare.ExemplarV1, encoded)
                texts = [text for label in exemplar.labels for text in (label.name, label.value)]
                points.add_exemplar(series, texts, exemplar.value, exemplar.timestamp)
    payload, written = points.finish(lonely=False)
    metadata = [found for encoded in request.metadata if (found := _metadata(encoded)) is not None]
    return Decoded(payload, written, points.rejected, complaints.text, points.left_exemplars, metadata)


def decode_v2(body: bytes, now_ns: int, book: SeriesBook) -> Decoded:
    """Decodes an `io.prometheus.write.v2.Request`. Raises what `decode_v1` raises."""
    request = _parsed(bare.RequestV2, body)
    symbols = list(request.symbols)
    if body and not symbols and not request.timeseries:
        raise Rejected(
            "The body holds no series of remote write 2.0. A request of 1.0 must say so in its Content-Type: "
            "application/x-protobuf."
        )
    if (symbols or request.timeseries) and (not symbols or symbols[0]):
        raise Rejected("symbols[0] must be the empty text.")
    complaints = Complaints()
    points = Points(now_ns, complaints)
    with_exemplars = _have_exemplars(request.timeseries)
    if with_exemplars:
        points.expect_exemplars()
    metadata: dict[tuple[bytes, int, int, int], MetricMetadata | None] = {}
    for told in request.timeseries:
        samples, histograms, said = told.samples, told.histograms, told.metadata
        type_ = said.type
        texts: list[tuple[ExemplarV2, list[bytes]]] = []
        try:
            series = _series_v2(told.labels_refs, type_, symbols, book)
            if histograms:
                if samples:
                    raise WrongSeries(f"{series.name[:200]} has samples and histograms in one TimeSeries")
            elif not samples and not told.exemplars:
                raise WrongSeries(f"{series.name[:200]} has neither samples nor histograms")
            if with_exemplars:
                texts = [_exemplar_v2(encoded, symbols) for encoded in told.exemplars]
        except WrongSeries as error:
            _reject(points, complaints, told, error)
            continue
        if samples:
            points.add_samples(series, samples, told.created_timestamp)
        elif histograms:
            points.add_histograms(series, histograms, told.created_timestamp)
        for exemplar, labels in texts:
            points.add_exemplar(series, labels, exemplar.value, exemplar.timestamp)
        fields = (series.family.head, type_, said.unit_ref, said.help_ref)
        if fields not in metadata:
            metadata[fields] = _metadata_v2(series, said, symbols)
    payload, written = points.finish(lonely=True)
    found = [one for one in metadata.values() if one is not None]
    return Decoded(payload, written, points.rejected, complaints.text, points.left_exemplars, found)


def memory(body: bytes, *, second: bool) -> int:
    """How many bytes of memory the decoded request and its OTLP may take, at most about: from its outer fields, and
    from what may be a field of next to nothing.

    Args:
        second: it is one of 2.0.

    Raises:
        TooLarge: it holds too many series, or symbols.
    """
    series, others = _count_fields(body, _SERIES_TAG_2 if second else _SERIES_TAG_1)
    tiny = body.translate(_TAG_OR_SMALL).count(b"\1\0")
    size = (_BYTES_2 if second else _BYTES_1) * len(body)  # a reference of one byte becomes four, and they are copied
    return size + _SERIES_BYTES * series + _OTHER_BYTES * others + _TINY_BYTES * tiny


def _count_fields(body: bytes, series_tag: int) -> tuple[int, int]:
    """Series and other fields of the outer message, all of which have a length; behind another one, as many as could
    be."""
    series = others = at = 0
    end = len(body)
    while at < end and body[at] & 7 == 2:
        if body[at] == series_tag:
            series += 1
        else:
            others += 1
        size, at = length_at(body, at + 1)
        at += size
        if series + others > 2 * MAX_SERIES:
            raise _too_many()
    return series, others + max(0, end - at) // 2


def _have_exemplars(series: Sequence[bare.TimeSeriesV1] | Sequence[bare.TimeSeriesV2]) -> bool:
    """Whether one of them has an exemplar. Raises TooLarge for too many of them, or too much in them."""
    count = exemplars = 0
    for one in series:
        few = len(one.exemplars)
        exemplars += few
        count += len(one.samples) + len(one.histograms) + few
    if max(count, len(series)) > MAX_SERIES:
        raise _too_many()
    return exemplars > 0


def _too_many() -> TooLarge:
    return TooLarge(f"The request holds more than {MAX_SERIES:,} series, samples or symbols; send less at once.")


def _parsed(kind: type[T], body: bytes) -> T:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise Rejected("The body is not a valid protobuf message.") from None


def _part(kind: type[T], encoded: bytes) -> T:
    """A message within a request that is one. Raises Rejected."""
    return _parsed(kind, encoded)


def _reject(
    points: Points, complaints: Complaints, told: bare.TimeSeriesV1 | bare.TimeSeriesV2, error: WrongSeries
) -> None:
    points.rejected += len(told.samples) + len(told.histograms)
    points.left_exemplars += len(told.exemplars)
    complaints.add(str(error))


def _series_v1(told: Sequence[bytes], book: SeriesBook) -> Series:
    check_count(len(told))
    labels = list(told)
    key = _key(labels)
    series = book.find(key)
    if series is None:
        check_size(sum(map(len, labels)) - 4 * len(labels))
        series = make_series(_texts(labels), None)
        book.keep(key, series)
    return series


def _texts(labels: Sequence[bytes]) -> list[bytes]:
    """Names and values of labels of 1.0, which take turns."""
    together = _part(bare.Labels, b"".join([field(0x0A, label) for label in labels]))
    return [text for label in together.labels for text in (label.name, label.value)]


def _key(texts: list[Any]) -> bytes:
    """Equal for equal texts only: their lengths are in it. Shorter than they are."""
    return blake2b(marshal.dumps(texts, 2), digest_size=16).digest()


def _series_v2(refs: Sequence[int], number: int, symbols: Sequence[bytes], book: SeriesBook) -> Series:
    check_count(len(refs) // 2)
    texts = _looked_up(refs, symbols)
    key = _key([*texts, number])
    series = book.find(key)
    if series is None:
        series = make_series(texts, TYPES[number] if number < len(TYPES) else None)
        book.keep(key, series)
    return series


def _looked_up(refs: Sequence[int], symbols: Sequence[bytes]) -> list[bytes]:
    try:
        return list(map(symbols.__getitem__, refs))
    except IndexError:
        raise WrongSeries(f"a label refers to symbol {max(refs)}, and there are {len(symbols)}") from None


def _exemplar_v2(encoded: bytes, symbols: Sequence[bytes]) -> tuple[ExemplarV2, list[bytes]]:
    if len(encoded) > MAX_EXEMPLAR_BYTES:
        raise WrongSeries("an exemplar has too many labels")
    exemplar = _part(ExemplarV2, encoded)
    return exemplar, _looked_up(exemplar.labels_refs, symbols)


def _metadata(encoded: bytes) -> MetricMetadata | None:
    """What 1.0 tells of a metric; None for what cannot be kept: nobody is told of that, as metadata comes again."""
    if len(encoded) > MAX_METADATA_BYTES:
        return None
    told = _part(bare.MetadataV1, encoded)
    return _made_metadata(told.metric_family_name, told.type, told.unit, told.help)


def _metadata_v2(series: Series, told: bare.MetadataV2, symbols: Sequence[bytes]) -> MetricMetadata | None:
    try:
        unit, help_ = symbols[told.unit_ref], symbols[told.help_ref]
    except IndexError:
        return None
    if not (told.type or unit or help_) or len(unit) + len(help_) > MAX_METADATA_BYTES:
        return None
    name = series.name
    if told.type in _WITH_PARTS:
        for suffix in PARTS:
            name = name.removesuffix(suffix)
    return _made_metadata(name.encode(), told.type, unit, help_)


def _made_metadata(name: bytes, number: int, unit: bytes, help_: bytes) -> MetricMetadata | None:
    if not name:
        return None
    try:
        texts = [text.decode() for text in (name, unit, help_)]
    except UnicodeDecodeError:
        return None
    return MetricMetadata(texts[0], TYPES[number] if number < len(TYPES) else TYPES[0], texts[1], texts[2])
