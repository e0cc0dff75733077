"""The dashboards themselves: which panels, in which order, with which words."""

from __future__ import annotations

from tests.support.grafana.model import Dashboard, choice, column, fixed_choice, text, thresholds
from tests.support.grafana.panels import LEVELS, bars, lines, number, service_map, table, waterfall

_ERRORS = thresholds(orange=0.01, red=0.05)
_ANY = thresholds(red=1)
_COUNTED = "Server and consumer spans, counted as they are stored"
_SLOWEST = "The longest 5 % of calls took at least so long. From roll-ups, at most 0.55 % off"

OVERVIEW = Dashboard(
    "overview",
    "Ares OTel: overview",
    "Rate, errors and duration of every service, who calls whom, and who is there.",
    [choice("service", "Service", "services", several=True)],
    [
        [
            number("Calls a second", "overview", "calls_per_second", f"{_COUNTED}, over the time shown.", unit="reqps"),
            number(
                "Failed",
                "overview",
                "error_share",
                "Share of the calls with status error.",
                unit="percentunit",
                **_ERRORS,
            ),
            number("95th percentile", "overview", "p95", f"{_SLOWEST}.", unit="ms", width=5),
            number(
                "ERROR records", "overview", "error_records", "Log records of level ERROR or FATAL.", width=5, **_ANY
            ),
            number(
                "Services not online",
                "overview",
                "services_not_online",
                "Services of the registry whose best instance is degraded or offline now.",
                width=6,
                **_ANY,
            ),
        ],
        [
            lines(
                "Calls",
                "overview",
                "calls_by_service",
                f"{_COUNTED}, by service. The 20 busiest of those chosen.",
                unit="reqps",
            ),
            lines(
                "Failed",
                "overview",
                "error_share_by_service",
                "Share of calls with status error, by service. The 20 with most errors.",
                unit="percentunit",
            ),
            lines("95th percentile", "overview", "p95_by_service", f"{_SLOWEST}. The 20 busiest services.", unit="ms"),
        ],
        [
            table(
                "Services",
                "overview",
                "services",
                "The 100 busiest. A click on a name shows the service.",
                width=12,
                height=11,
                columns=[column("calls per second", unit="reqps")],
            ),
            service_map(
                "Who calls whom",
                "overview",
                "Calls a second and share of errors. The 200 busiest connections; complete some seconds after each minute.",
                width=12,
                height=11,
            ),
        ],
        [
            lines(
                "Log records",
                "overview",
                "records_by_level",
                "Log records of each level, of the services chosen.",
                style="bars",
                width=10,
                height=9,
                overrides=LEVELS,
            ),
            table(
                "Instances",
                "overview",
                "instances",
                "Who is in the registry, and by which signs it is known to live. Those that are not well come first.",
                width=14,
            ),
        ],
    ],
)

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
                f"{_COUNTED}, over the time shown.",
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
                **_ERRORS,
            ),
            number("95th percentile", "service", "p95", f"{_SLOWEST}.", unit="ms", width=6),
            number(
                "ERROR records", "service", "error_records", "Log records of level ERROR or FATAL.", width=6, **_ANY
            ),
        ],
        [
            lines(
                "Calls",
                "service",
                "calls_by_operation",
                f"{_COUNTED}, by operation. The 20 busiest of those chosen.",
                unit="reqps",
            ),
            lines(
                "Failed",
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

_SEARCH = [
    choice("service", "Service", "services", several=False),
    choice("operation", "Operation", "operations", several=True),
    fixed_choice("status", "Status", ["error", "ok", "unset"]),
    text("min_ms", "At least, ms"),
    text("key", "Attribute"),
    text("value", "Value"),
]

TRACES = Dashboard(
    "traces",
    "Ares OTel: traces",
    "Search for spans of a service by operation, status, duration and an attribute, and for their traces.",
    _SEARCH,
    [
        [
            lines(
                "Spans a second",
                "traces",
                "spans_per_second",
                "Spans of the service and operations, whatever else is searched for.",
                unit="cps",
                style="bars",
                width=12,
            ),
            lines(
                "Durations",
                "traces",
                "durations",
                "The newest 1,000 spans that match, each a point.",
                unit="ms",
                style="points",
                width=12,
            ),
        ],
        [
            table(
                "Traces",
                "traces",
                "traces",
                "The newest 50 that have a matching span among the newest 1,000; of each its first 1,000 spans in the time shown. A click on the id shows the trace.",
            )
        ],
        [table("Spans", "traces", "spans", "The newest 200 that match.", height=12)],
    ],
)

TRACE = Dashboard(
    "trace",
    "Ares OTel: one trace",
    "One trace: its spans as Grafana shows them, as rows, and its log records. Times outside of the range shown are left out.",
    [text("trace_id", "Trace id")],
    [
        [waterfall("Trace", "Out of Ares's Jaeger API.", height=16)],
        [
            table("Services", "trace", "services", "Who took part.", width=8),
            table(
                "Log records",
                "trace",
                "records",
                "The first 1,000 with the id of the trace.",
                width=16,
                columns=[column("message", custom_width=480)],
            ),
        ],
        [
            table(
                "Spans",
                "trace",
                "spans",
                "The first 1,000, and how long after the first one they begin.",
                height=14,
                columns=[column("after", unit="ms", custom_width=90)],
            )
        ],
    ],
    hidden=True,
)

LOGS = Dashboard(
    "logs",
    "Ares OTel: logs",
    "Log records by service, level, words and trace.",
    [
        choice("service", "Service", "logging_services", several=True),
        fixed_choice("level", "Level", ["ERROR", "WARN", "INFO", "DEBUG"]),
        text("text", "Has the words"),
        text("trace_id", "Trace id"),
    ],
    [
        [
            lines(
                "Records",
                "logs",
                "records_by_level",
                "Records of the services and levels, whatever their words.",
                style="bars",
                width=14,
                overrides=LEVELS,
            ),
            table("Services", "logs", "services", "Those with most ERROR records first.", width=10, height=8),
        ],
        [
            table(
                "Newest records",
                "logs",
                "records",
                "The newest 500 that match. A click on the id shows the trace.",
                height=16,
                columns=[column("message", custom_width=560)],
            )
        ],
        [table("Most frequent messages", "logs", "messages", "Among the newest 5,000 records that match.")],
    ],
)

METRICS = Dashboard(
    "metrics",
    "Ares OTel: metrics",
    "Any metric of a service, under the name that it came with.",
    [
        choice("service", "Service", "measured_services", several=False),
        choice("metric", "Metric", "metrics", several=False),
    ],
    [
        [
            lines(
                "Value",
                "metrics",
                "values",
                "Mean of the points, by attributes. Of histograms and summaries the mean of all that each point tells of.",
                width=12,
                height=9,
                min=None,
            ),
            lines(
                "Increase a second",
                "metrics",
                "increase",
                "Of sums, and of the number of measurements of histograms. Not of gauges and summaries: they have no increase.",
                width=12,
                height=9,
                unit="cps",
                min=None,
            ),
        ],
        [
            lines(
                "Mean of a histogram",
                "metrics",
                "means",
                "What was measured between two points, in the unit of the metric. Of histograms only.",
                width=12,
                height=9,
                min=None,
            ),
            table("Newest points", "metrics", "points", "The newest 200 points.", width=12),
        ],
        [
            table(
                "Metrics of the service",
                "metrics",
                "metrics",
                "All that it ever sent and that is still kept.",
                height=12,
            )
        ],
    ],
)

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
                "Spans, log records and data points stored in the time shown, out of the receipts, which are kept for a day.",
                width=3,
            ),
            number(
                "Rejected items",
                "ares",
                "rejected_items",
                "Refused by the database for what they hold, in the time shown.",
                width=3,
                **_ANY,
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
                "Age of the oldest minute that waits to be merged: up to a minute and some seconds is usual.",
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
                "What the database refused, by reason. `ares-otel rejected` shows the items and tries them again.",
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
                "Partitioned tables: how many partitions, how many of them sealed, failures of the jobs on them, size, and what arrives lately.",
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

DASHBOARDS = (OVERVIEW, SERVICE, TRACES, TRACE, LOGS, METRICS, ITSELF)
"""In the order of their page."""
