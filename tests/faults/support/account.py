"""The account: what Ares's own counters say, and whether they add up."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict

import asyncpg
import httpx

from tests.support.eventually import eventually

OUTCOMES = ("stored", "deduplicated", "rejected", "refused", "dropped", "spooled")
_LINE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Sample = tuple[dict[str, str], float]


class Metrics:
    """One look at `/metrics`."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for name, labels, value in _LINE.findall(text):
            self._samples[name].append((dict(_LABEL.findall(labels)), float(value)))

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples of a metric that have these labels."""
        return sum(
            value
            for found, value in self._samples[name]
            if all(found.get(key) == wanted for key, wanted in labels.items())
        )

    def values(self, name: str, label: str) -> set[str]:
        """The values that a label has."""
        return {found[label] for found, _ in self._samples[name] if label in found}


async def read_metrics(api: str) -> Metrics:
    """What `API/metrics` says now."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return Metrics((await client.get(f"{api}/metrics")).raise_for_status().text)


async def spool_is_empty(api: str) -> None:
    """Waits until everything that waited in the spool is in the database."""

    async def look() -> bool:
        return (await read_metrics(api)).sum("ares_otel_spool_waiting_items") == 0

    await eventually(look, seconds=90, every=0.1)


async def spooled(api: str) -> float:
    """Items that went to the spool of this process so far."""
    return (await read_metrics(api)).sum("ares_otel_account_items_total", outcome="spooled")


def unbalanced(metrics: Metrics) -> list[str]:
    """Where the account of one process does not add up, in sentences; empty when it does. Holds when nothing is on its
    way."""
    found = []
    name = "ares_otel_account_items_total"
    if not metrics.sum(name, outcome="received"):
        return [f"{name} counts nothing"]
    for signal in sorted(metrics.values(name, "signal")):
        for receiver in sorted(metrics.values(name, "receiver")):
            for transport in sorted(metrics.values(name, "transport")):
                labels = {"signal": signal, "receiver": receiver, "transport": transport}
                received = metrics.sum(name, outcome="received", **labels)
                parts = {outcome: metrics.sum(name, outcome=outcome, **labels) for outcome in OUTCOMES}
                if received != sum(parts.values()):
                    found.append(f"{labels}: received {received} is not the sum of {parts}")
        waiting = metrics.sum("ares_otel_spool_waiting_items", signal=signal)
        spool = {
            outcome: metrics.sum("ares_otel_spool_items_total", signal=signal, outcome=outcome)
            for outcome in ("spooled", "found", "stored", "deduplicated", "rejected", "lost")
        }
        came = spool.pop("spooled") + spool.pop("found")
        if came != sum(spool.values()) + waiting:
            found.append(f"spool, {signal}: {came} came, and {spool} with {waiting} waiting")
    return found


async def unbalanced_for_good(api: str) -> list[str]:
    """Where the account of a process does not add up, also after a while: Ares's own telemetry is always on its way."""
    found: list[str] = []

    async def balanced() -> bool:
        found[:] = unbalanced(await read_metrics(api))
        return not found

    with contextlib.suppress(AssertionError):
        await eventually(balanced, seconds=10, every=0.1)
    return found


_TABLES = {
    "traces": ("service_spans",),
    "logs": ("service_logs",),
    "metrics": ("metric_samples", "metric_distributions"),
}


async def receipts_and_rows(url: str) -> list[str]:
    """Where the receipts (what senders were told) and the tables disagree, in sentences."""
    connection = await asyncpg.connect(url)
    found = []
    try:
        # One look at everything: Ares's own telemetry, which has receipts too, does not stop coming.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for signal, tables in _TABLES.items():
                promised = await connection.fetchval(
                    "SELECT coalesce(sum(accepted - rejected_later), 0) FROM ingest_receipts WHERE signal = $1", signal
                )
                rows = sum([await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables])
                if promised != rows:
                    found.append(f"{signal}: receipts promise {promised} rows, the tables hold {rows}")
    finally:
        await connection.close()
    return found
