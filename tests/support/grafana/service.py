"""One service."""

from __future__ import annotations

from tests.support.grafana.model import Dashboard, choice, column
from tests.support.grafana.overview import ANY, COUNTED, ERRORS, SLOWEST
from tests.support.grafana.panels import LEVELS, lines, number, table

SERVICE = Dashboard(
    "service",
    "Ares OTel: service",
    "One service: its operations, their errors and durations, whom it calls and who calls it, where it runs.",
    [
        choice("service", "Service", "services", several=False),
        choice("operation", "Operation", "operations", several=True),
    ],
    [
        [
            number(
                "Calls a second",
                "service",
                "calls_per_second",
                f"{COUNTED}, over the time shown.",
                unit="reqps",
                width=6,
            ),
            number(
                "Failed",
                "service",
                "error_share",
                "Share of the calls with status error.",
                unit="percentunit",
                width=6,
                **ERRORS,
            ),
            number("95th percentile", "service", "p95", f"{SLOWEST}.", unit="ms", width=6),
            number("ERROR records", "service", "error_records", "Log records of level ERROR or FATAL.", width=6, **ANY),
        ],
        [
            lines(
                "Calls by operation",
                "service",
                "calls_by_operation",
                f"{COUNTED}, by operation. The 20 busiest of those chosen.",
                unit="reqps",
            ),
            lines(
                "Failed by operation",
                "service",
                "errors_by_operation",
                "Share of calls with status error, by operation. The 20 with most errors.",
                unit="percentunit",
            ),
            lines(
                "Duration",
                "service",
                "latency",
                "Percentiles of the operations together, at most 0.55 % off, and the longest call.",
                unit="ms",
            ),
        ],
        [
            table(
                "Operations",
                "service",
                "operations",
                "The 50 busiest, of every kind of span; calls to others are of kind client or producer.",
                columns=[column("operation", custom_width=320)],
            )
        ],
        [
            table("Called by", "service", "callers", "Services that call this one.", width=12, height=7),
            table(
                "Calls",
                "service",
                "dependencies",
                "Services, databases, queues and what sends no spans, as this service calls them.",
                width=12,
                height=7,
            ),
        ],
        [
            table(
                "Failed spans",
                "service",
                "failed_spans",
                "The newest 50 with status error. A click on the id shows the trace.",
                width=14,
            ),
            lines(
                "Log records",
                "service",
                "records_by_level",
                "Log records of each level.",
                style="bars",
                width=10,
                height=9,
                overrides=LEVELS,
            ),
        ],
        [
            table("Instances", "service", "instances", "As the registry knows them.", width=12, height=7),
            table(
                "Hosts",
                "service",
                "hosts",
                "Where it ran: the resources that its telemetry named in the time shown or on the day before.",
                width=12,
                height=7,
            ),
        ],
    ],
)
