"""Ares itself."""

from __future__ import annotations

from tests.support.grafana.model import Dashboard, column, thresholds
from tests.support.grafana.overview import ANY
from tests.support.grafana.panels import bars, lines, number, table

ITSELF = Dashboard(
    "itself",
    "Ares OTel: Ares itself",
    "What Ares takes in, what waits, what was rejected, what its partitions hold, and how its API answers.",
    [],
    [
        [
            number(
                "Items taken",
                "ares",
                "items",
                "Spans, log records and data points stored, as the receipts of a day say.",
                width=3,
            ),
            number(
                "Rejected items",
                "ares",
                "rejected_items",
                "Refused by the database for what they hold, in the time shown.",
                width=3,
                **ANY,
            ),
            number(
                "Spool",
                "ares",
                "spooled_for",
                "Age of the oldest request that waits on disk for the database.",
                unit="s",
                width=3,
                **thresholds(orange=1, red=300),
            ),
            number(
                "Roll-ups behind",
                "ares",
                "rollup_lag",
                "Age of the oldest minute that waits to be merged. Up to a minute and some seconds is usual.",
                unit="s",
                width=3,
                **thresholds(orange=180, red=600),
            ),
            number(
                "Map behind",
                "ares",
                "map_waits",
                "Minutes that the service map does not have yet.",
                width=3,
                **thresholds(orange=3, red=15),
            ),
            number("Database", "ares", "database_bytes", "Size on disk.", unit="bytes", width=4),
            number("Connections", "ares", "connections", "Of all programs, to this database.", width=5),
        ],
        [
            lines(
                "Items",
                "ares",
                "items_per_second",
                "Items stored a second, by signal, at the time they were received.",
                unit="cps",
            ),
            lines("Requests", "ares", "requests_per_second", "Requests stored a second, by signal.", unit="reqps"),
            lines(
                "From received to stored",
                "ares",
                "seconds_to_store",
                "Seconds from the receipt of a request to its commit; long where it waited in a spool.",
                unit="s",
            ),
        ],
        [
            table(
                "Rejected",
                "ares",
                "rejected",
                "What the database refused, by reason. `ares-otel rejected` has the items.",
                width=14,
                columns=[column("reason", custom_width=380)],
            ),
            table(
                "Spools",
                "ares",
                "spools",
                "Directories that may hold requests which are not in the database yet.",
                width=10,
                columns=[column("age", unit="s")],
            ),
        ],
        [
            table(
                "Tables",
                "ares",
                "tables",
                "Partitions, how many of them are sealed, failures of the jobs on them, size, and what arrives lately.",
                width=16,
                columns=[
                    column("bytes", unit="bytes"),
                    column("new partitions", unit="s"),
                    column("rows a second", unit="cps"),
                ],
            ),
            bars(
                "Size of the tables",
                "ares",
                "table_bytes",
                "Bytes on disk with indexes.",
                unit="bytes",
                width=8,
                height=9,
            ),
        ],
        [
            table(
                "Partitions",
                "ares",
                "partitions",
                "Those with failures first, then the newest; at most 100.",
                columns=[column("bytes", unit="bytes")],
            )
        ],
        [
            lines(
                "Calls of the API",
                "ares",
                "api_calls",
                "Requests to Ares's REST API a second, by endpoint.",
                unit="reqps",
                width=12,
            ),
            lines(
                "Duration of the API",
                "ares",
                "api_latency",
                "Percentiles of all endpoints together.",
                unit="ms",
                width=12,
            ),
        ],
        [
            table(
                "Ares's own log",
                "ares",
                "own_records",
                "The newest 100 records of the service ares-api.",
                columns=[column("message", custom_width=560)],
            )
        ],
    ],
)
