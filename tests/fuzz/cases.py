"""One damaged request through both encoders, and what is counted of it."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from pathlib import Path
from random import Random

from google.protobuf.message import DecodeError, Message

from ares_otel.model.batch import Batch
from ares_otel.model.errors import AresError
from ares_otel.model.signal import SIGNALS, Signal
from ares_otel.storage.rows import reference
from ares_otel.storage.rows.encoded import SERIES
from ares_otel.storage.rows.known import KnownSeries
from tests.corpus.expected import FOLDER, NOW, WINDOWS, read
from tests.fuzz.mutations import mutated
from tests.fuzz.tree import Node, parsed
from tests.support.encoders import NATIVE_ENCODER, WHY_MISSING, outcome, shown

MOST_SEED_BYTES = 4000
"""Larger requests of the corpus take too long to be mutated often."""


class Differs(Exception):
    """The two encoders disagree about a request; the message says in what."""

    def __init__(self, signal: Signal, payload: bytes, what: str) -> None:
        super().__init__(what)
        self.signal = signal
        self.payload = payload


def seeds() -> dict[Signal, list[Node]]:
    """The valid requests of the corpus as trees; those that are native several times, so that most of what is made of
    them is, too."""
    found: dict[Signal, list[Node]] = {signal: [] for signal in SIGNALS.values()}
    expected = read()
    for path in sorted(FOLDER.glob("*.bin")):
        signal = SIGNALS[path.name.partition("-")[0]]
        data = path.read_bytes()
        try:
            request: Message = signal.request.FromString(data)
            if 0 < len(data) <= MOST_SEED_BYTES:
                times = 1 if expected.get(path.stem, {}).get("fallback") else 5
                found[signal] += [parsed(data, request.DESCRIPTOR)] * times
        except (ValueError, DecodeError):
            pass
    return found


def compare(random: Random, signal: Signal, payload: bytes) -> str:
    """Encodes with both. Returns `native`, why the native encoder left the request to the reference, or `error`.

    Raises:
        Differs: they do not give the same.
    """
    assert NATIVE_ENCODER is not None, WHY_MISSING
    batch = Batch(
        signal, payload, tenant_id=random.choice([0, 7, 2**31 - 1]), received_ns=NOW, receiver="otlp", transport="grpc"
    )
    known = None
    expected = outcome(reference.encode_batch, batch, WINDOWS, None)
    if not isinstance(expected, AresError) and expected.definitions.get(SERIES) and random.random() < 0.3:
        known = KnownSeries()
        known.add(id_.bytes for id_ in expected.definitions[SERIES] if random.random() < 0.5)
        expected = outcome(reference.encode_batch, batch, WINDOWS, known)
    made = outcome(NATIVE_ENCODER, batch.undecoded(), WINDOWS, known)
    one, other = shown(expected), shown(made)
    if one != other:
        raise Differs(signal, payload, ", ".join(sorted(key for key in one | other if one.get(key) != other.get(key))))
    return "error" if isinstance(made, AresError) else made.fallback or "native"


def case(random: Random, found: dict[Signal, list[Node]]) -> tuple[Signal, bytes]:
    """A damaged request."""
    signal = random.choice(list(found))
    return signal, mutated(random, found[signal])


def keep(signal: Signal, payload: bytes, folder: Path = FOLDER) -> Path:
    """Puts a request that was found into the corpus."""
    path = folder / f"{signal.name}-found-{blake2b(payload, digest_size=6).hexdigest()}.bin"
    path.write_bytes(payload)
    return path


def table(counts: Counter[tuple[str, str]]) -> str:
    """How many requests of each signal were native, and why the others were not."""
    lines = []
    for signal in SIGNALS:
        of = {outcome: count for (name, outcome), count in counts.items() if name == signal}
        total = sum(of.values()) or 1
        valid = total - of.get("error", 0)
        rest = ", ".join(f"{name} {count}" for name, count in sorted(of.items(), key=lambda item: -item[1]))
        lines.append(
            f"{signal:8} {total:8} requests, native {of.get('native', 0) / max(valid, 1):4.0%} of the valid: {rest}"
        )
    return "\n".join(lines)
