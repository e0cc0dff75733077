"""A script that is over in a moment: what it has to say is sent before it ends, also when it fails.

    pip install ares-otel
    ares-otel up                                      # in another terminal
    printf 'BTC-USD,1.5\\nETH-USD,two\\n' | python examples/script.py

cron, CI jobs, backups: `configure()` sends at exit, at SIGTERM and after an exception, and waits for it five seconds
at most. Where nobody answers the script works the same, and says so once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable

from opentelemetry import metrics, propagate, trace

import ares_otel

log = logging.getLogger("import")
tracer = trace.get_tracer("import")
lines_read = metrics.get_meter("import").create_counter("import.lines", unit="{line}")


def total(lines: Iterable[str]) -> float:
    amount = 0.0
    for number, line in enumerate(lines, 1):
        symbol, _, text = line.strip().partition(",")
        try:
            amount += float(text)
        except ValueError:
            log.warning("line %d is left out: %r is no amount", number, text, extra={"symbol": symbol})
            lines_read.add(1, {"outcome": "left out"})
        else:
            lines_read.add(1, {"outcome": "read"})
    return amount


if __name__ == "__main__":
    ares_otel.configure("import", service_version="1.0.0")
    # Who starts the script may have a trace already: TRACEPARENT is the variable for it, as in build systems.
    parent = propagate.extract({"traceparent": os.environ.get("TRACEPARENT", "")})
    with tracer.start_as_current_span("import orders", parent):
        print(total(sys.stdin))
