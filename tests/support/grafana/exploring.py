"""Pages to search with: traces, one trace, log records, metrics."""

from __future__ import annotations

from tests.support.grafana.model import Dashboard, choice, column, fixed_choice, text
from tests.support.grafana.panels import LEVELS, lines, table, waterfall

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
                "Of the newest 1,000 spans that match, the newest 50 traces. A click on the id shows the trace.",
            )
        ],
        [table("Spans", "traces", "spans", "The newest 200 that match.", height=12)],
    ],
)

TRACE = Dashboard(
    "trace",
    "Ares OTel: one trace",
    "One trace: its spans as Grafana shows them and as rows, and its log records, in the time shown.",
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
                "Mean of the points, by attributes. A point of a histogram or summary counts with its own mean.",
                width=12,
                height=9,
                min=None,
            ),
            lines(
                "Increase a second",
                "metrics",
                "increase",
                "Of sums, and of the number of measurements of histograms. Gauges have none.",
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
