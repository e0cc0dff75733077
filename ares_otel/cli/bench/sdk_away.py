"""The process that makes requests while nothing answers where its telemetry should go:
`python -m ares_otel.cli.bench.sdk_away REQUESTS ROUNDS`."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from contextlib import ExitStack

from ares_otel.cli.bench.sdk_calls import Kit, plain_request, request_of
from ares_otel.cli.bench.sdk_exporters import exporters

NAMES = {
    "plain": "not instrumented",
    "discard": "SDK, batch processors, an exporter that discards",
    "refused": "Ares's exporter, the database refuses connections",
    "silent": "Ares's exporter, the database takes connections and says nothing",
}
WARM = 100
"""Requests before those that count: exporters begin with the first batch."""
PAUSE = 0.001
"""Seconds between two requests: a service that is not at its limit. What exporters do falls into the pauses, or not."""


def main(requests: int, rounds: int) -> None:
    logging.getLogger("ares_otel").setLevel(logging.CRITICAL)  # that nobody answers is known
    os.environ |= {f"OTEL_{processor}_SCHEDULE_DELAY": "100" for processor in ("BSP", "BLRP")}
    os.environ["ARES_OTEL_SDK_SHUTDOWN_SECONDS"] = "0.1"
    took: dict[str, list[float]] = {kind: [] for kind in NAMES}
    with ExitStack() as stack:
        taken, silent = stack.enter_context(socket.socket()), stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        closed, mute = taken.getsockname()[1], silent.getsockname()[1]
        for number in range(rounds):
            for kind in list(NAMES)[:: -1 if number % 2 else 1]:
                took[kind] += _round(kind, requests, closed, mute)
    sys.stdout.write(json.dumps(took))


def _round(kind: str, requests: int, closed: int, mute: int) -> list[float]:
    """Seconds of each request. Only this kind's exporters are there meanwhile."""
    kit = None
    request = plain_request
    if kind != "plain":
        database = f"postgresql://bench@127.0.0.1:{mute if kind == 'silent' else closed}/bench"
        found = exporters("discard" if kind == "discard" else "direct", "", "", database)
        kit = Kit(kind, found, 4 * (WARM + requests) + 512)
        request = request_of(kit)  # type: ignore[assignment]
    seconds = []
    for number in range(WARM + requests):
        started = time.perf_counter()
        request(number)
        seconds.append(time.perf_counter() - started)
        time.sleep(PAUSE)
    if kit is not None:
        kit.shutdown()
    return seconds[WARM:]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
