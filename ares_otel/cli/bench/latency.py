"""How long an answer takes while Ares is half as busy as it can be."""

from __future__ import annotations

import math
from statistics import quantiles

from ares_otel.cli import console
from ares_otel.cli.bench.data import ITEMS_A_REQUEST
from ares_otel.cli.bench.ingest import Bench, Load
from ares_otel.cli.bench.report import Report, Row
from ares_otel.model.signal import TRACES

_MOST_BYTES = 1024**3
"""Of ready-made requests: a long run at a high rate is shortened."""


async def measure_latency(report: Report, bench: Bench, *, protocol: str, requests: int, seconds: float) -> None:
    """First the most that goes through, with four senders; then half of that, sent by the clock.

    Args:
        requests: sent to find the maximum.
        seconds: how long the second part takes.
    """
    load = Load(TRACES, requests, 4, protocol)
    await bench.send(load, 0)
    most = await bench.send(load, 1)
    a_second = requests / most["seconds"] / 2
    count = max(10, min(math.ceil(a_second * seconds), _MOST_BYTES // (ITEMS_A_REQUEST * 600)))
    console.progress(f"{a_second:.1f} requests a second for {count / a_second:.0f} s ...")
    paced = Load(TRACES, count, 4, protocol)
    job = paced.job("pace", 2, protocol=protocol, target=bench.target(protocol), a_second=a_second)
    await bench.sender.prepare(**job)
    answer = await bench.sender.run()
    times = quantiles([1000 * each for each in answer["times"]], n=100, method="inclusive")
    spans = a_second * ITEMS_A_REQUEST
    report.add(Row(f"most that 4 senders get through over {protocol}", f"{2 * spans:,.0f} spans/s"))
    report.add(
        Row(
            f"from when a request of {ITEMS_A_REQUEST} spans is due to its answer over {protocol}, at half of that "
            f"({a_second:.1f} requests/s), p50 / p95 / p99",
            f"{times[49]:.1f} / {times[94]:.1f} / {times[98]:.1f} ms",
        )
    )
    if answer["refused"]:
        report.add(Row("requests that were refused and sent again", str(answer["refused"])))
    report.ratio("p99 ÷ p50 of the answer at half load", times[98] / times[49])
