"""What becomes of a request of the corpus, in a form that can be kept and read."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ares_otel.model.batch import Batch
from ares_otel.model.errors import AresError
from ares_otel.model.signal import SIGNALS
from ares_otel.storage.rows.encoded import PARTITIONED, EncodedBatch, Window
from tests.support.encoders import Encode, outcome

FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "expected.json"
NOW = 1_769_860_800_123_456_789
"""When the requests of the corpus came: 2026-01-31, a little after noon."""
DAY = 86_400_000_000_000
WINDOWS = {table: Window(NOW - 2 * DAY, NOW + 2 * DAY) for table in PARTITIONED}


def names() -> list[str]:
    """The requests that are there."""
    return sorted(path.stem for path in FOLDER.glob("*.bin"))


def batch_of(name: str) -> Batch:
    """A request of the corpus as the pipeline carries it."""
    return Batch(
        SIGNALS[name.partition("-")[0]],
        (FOLDER / f"{name}.bin").read_bytes(),
        tenant_id=3,
        received_ns=NOW,
        receiver="otlp",
        transport="grpc",
    )


def summary(encode: Encode, name: str) -> dict[str, Any]:
    """What an encoder makes of a request, without why it fell back."""
    made = outcome(encode, batch_of(name), WINDOWS, None)
    if isinstance(made, AresError):
        return {"error": type(made).__name__, "message": made.message}
    return {
        "items": made.items,
        "rejected": made.rejected,
        "reasons": dict(made.reasons),
        "tables": {table: [rows.count, _digest(rows.data)] for table, rows in made.tables.items()},
        "definitions": {
            table: [len(defined), _digest(repr(list(defined.items())).encode())]
            for table, defined in made.definitions.items()
        },
        "definition_bytes": made.definition_bytes,
        "services": sorted(list(service) for service in made.services),
        "replaced": dict(sorted(made.replaced.items())),
    }


def fallback(encode: Encode, name: str) -> str:
    """Why the native encoder leaves a request to the reference; empty when it does not. Of a request that ends in an
    error it is not told."""
    made = outcome(encode, batch_of(name), WINDOWS, None)
    return made.fallback if isinstance(made, EncodedBatch) else ""


def read() -> dict[str, dict[str, Any]]:
    """What is expected, by name."""
    expected: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return expected


def _digest(data: bytes | bytearray) -> str:
    return blake2b(data, digest_size=8).hexdigest()
