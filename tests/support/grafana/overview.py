"""All services on one page, and what the pages of services have in common."""

from __future__ import annotations

from tests.support.grafana.model import Dashboard, choice, column, thresholds
from tests.support.grafana.panels import LEVELS, lines, number, service_map, table

ERRORS = thresholds(orange=0.01, red=0.05)
ANY = thresholds(red=1)
COUNTED = "Server and consumer spans, counted as they are stored"
SLOWEST = "The longest 5 % of calls took at least so long. From roll-ups, at most 0.55 % off"

OVERVIEW = Dashboard(
    "overview",
    "Ares OTel: overview",
    "Rate, errors and duration of every service, who calls whom, and who is there.",
    [choice("service", "Service", "services", several=True)],
    [
        [
            number("Calls a second", "overview", "calls_per_second", f"{COUNTED}, over the time shown.", unit="reqps"),
            number(
                "Failed",
                "overview",
                "error_share",
                "Share of the calls with status error.",
                unit="percentunit",
                **ERRORS,
            ),
            number("95th percentile", "overview", "p95", f"{SLOWEST}.", unit="ms", width=5),
            number(
                "ERROR records", "overview", "error_records", "Log records of level ERROR or FATAL.", width=5, **ANY
            ),
            number(
                "Services not online",
                "overview",
                "services_not_online",
                "Services of the registry whose best instance is degraded or offline now.",
                width=6,
                **ANY,
            ),
        ],
        [
            lines(
                "Calls by service",
                "overview",
                "calls_by_service",
                f"{COUNTED}, by service. The 20 busiest of those chosen.",
                unit="reqps",
            ),
            lines(
                "Failed by service",
                "overview",
                "error_share_by_service",
                "Share of calls with status error, by service. The 20 with most errors.",
                unit="percentunit",
            ),
            lines(
                "95th percentile by service",
                "overview",
                "p95_by_service",
                f"{SLOWEST}. The 20 busiest services.",
                unit="ms",
            ),
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
                "Calls a second and share of errors. The 200 busiest connections, some seconds after each minute.",
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
