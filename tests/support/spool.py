"""Spools for tests: records, an observer that remembers, a directory to look into."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from ares_otel.model.batch import batch_key
from ares_otel.model.signal import TRACES, Signal
from ares_otel.storage.spool.record import SpoolRecord
from ares_otel.storage.spool.spool import Entry, Spool

LIMIT = 100_000_000


def a_record(number: int, *, signal: Signal = TRACES, payload: bytes | None = None, items: int = 2) -> SpoolRecord:
    """A record whose content follows from its number."""
    return SpoolRecord(
        key=hashlib.blake2b(b"%d" % number, digest_size=16).digest(),
        signal=signal,
        tenant_id=number % 3,
        received_ns=1_700_000_000_000_000_000 + number,
        receiver="otlp",
        transport="grpc" if number % 2 else "http",
        encoding="otlp",
        items=items,
        rejected=number % 2,
        reason="One was wrong: ü." if number % 2 else "",
        payload=b"payload %d " % number * 3 if payload is None else payload,
    )


def number_of(record: SpoolRecord) -> int:
    """What `a_record` was given."""
    return record.received_ns - a_record(0).received_ns


def otlp_record(signal: Signal, request: Message, *, received_ns: int = 1_700_000_000_000_000_000) -> SpoolRecord:
    """A request as the store spools it."""
    payload = request.SerializeToString()
    key = batch_key(0, signal, payload)
    return SpoolRecord(key, signal, 0, received_ns, "otlp", "grpc", "otlp", signal.count(request), 0, "", payload)


class Remembering:
    """A `SpoolObserver` that adds up what it was told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def found(self, signal: Signal, records: int, items: int) -> None:
        self.counts["found"] += records
        self.counts["found items"] += items

    def appended(self, signal: Signal, records: int, items: int, size: int) -> None:
        self.counts["appended"] += records
        self.counts["appended items"] += items
        self.counts["appended bytes"] += size

    def done(self, signal: Signal, records: int, items: int, size: int) -> None:
        self.counts["done"] += records
        self.counts["done items"] += items
        self.counts["done bytes"] += size

    def refused(self, reason: str) -> None:
        self.counts[f"refused {reason}"] += 1

    def synced(self, seconds: float) -> None:
        self.counts["synced"] += 1

    def quarantined(self, segments: int, size: int, salvaged: int) -> None:
        self.counts["quarantined"] += segments
        self.counts["quarantined bytes"] += size
        self.counts["salvaged"] += salvaged

    def lost(self, signal: Signal, records: int, items: int) -> None:
        self.counts["lost"] += records
        self.counts["lost items"] += items

    def torn(self, size: int) -> None:
        self.counts["torn"] += size


@contextmanager
def opened(directory: Path, **options: Any) -> Iterator[Spool]:
    """An open spool for the length of a block."""
    spool = Spool(directory, **{"limit_bytes": LIMIT, **options})
    spool.open()
    try:
        yield spool
    finally:
        spool.close()


async def read_all(spool: Spool, signal: Signal = TRACES) -> list[Entry]:
    """Everything of a signal that `read` gives."""
    return await spool.read(signal, max_records=1_000_000, max_bytes=1 << 40)


async def records_in(directory: Path, signal: Signal = TRACES, **options: Any) -> list[SpoolRecord]:
    """What a spool that is opened on a directory has to replay."""
    with opened(directory, **options) as spool:
        return [entry.record for entry in await read_all(spool, signal)]


def segments(directory: Path, signal: Signal = TRACES) -> list[Path]:
    """The segment files of a signal, oldest first."""
    return sorted((directory / signal.name).glob("*.seg"))


def quarantined(directory: Path) -> list[str]:
    """Names of the files in the quarantine."""
    return sorted(path.name for path in (directory / "quarantine").glob("*"))
