"""The extension module; see `native.py` for what its numbers mean."""

from collections.abc import Iterable

from ares_otel.storage.rows import known as reference

_Values = tuple[object, ...]

SOURCES: str
"""The digest of the sources that it was built from (native_sources.py); empty when it was built by hand."""

def encode(
    signal: int,
    payload: bytes,
    tenant_id: int,
    shared: bytes,
    window_start: int,
    window_end: int,
    filing_ns: int,
    max_bytes: int,
) -> (
    int
    | tuple[
        bool,
        bytes,
        int,
        bytes,
        int,
        int,
        int,
        list[tuple[int, int]],
        dict[bytes, _Values],
        dict[bytes, _Values],
        set[tuple[str, str, str, str, str]],
        int,
    ]
): ...
def scan(signal: int, payload: bytes, limit: int) -> int: ...
def encode_metrics(
    payload: bytes,
    tenant_id: int,
    shared: bytes,
    samples: tuple[int, int, int],
    distributions: tuple[int, int, int],
    max_bytes: int,
    known: reference.KnownSeries | None,
) -> (
    int
    | tuple[
        bool,
        bytes,
        int,
        bytes,
        int,
        bool,
        int,
        int,
        list[tuple[int, int]],
        dict[bytes, _Values],
        dict[bytes, _Values],
        set[tuple[str, str, str, str, str]],
        int,
        dict[bytes, _Values],
        bool,
        bytes,
        int,
    ]
): ...
def envelopes(signal: int, payload: bytes, limit: int) -> int: ...
def empty_messages(payload: bytes) -> int: ...

class KnownSeries(reference.KnownSeries):
    """The same interface (to a type checker it is one), which encoders read without the interpreter's lock."""

    generation: int
    def __contains__(self, series_id: bytes) -> bool: ...
    def __len__(self) -> int: ...
    def add(self, series_ids: Iterable[bytes]) -> None: ...
    def forget(self) -> None: ...

def encode_sdk_spans(spans: Iterable[object], span_class: type, bounded: type) -> bytes: ...
def encode_sdk_logs(records: Iterable[object], record_class: type, bounded: type) -> bytes: ...
