"""The kinds of panels that the dashboards have, with what all of a kind share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tests.support.grafana.model import JAEGER, Json, Panel, column, link_to, query
from tests.support.grafana.statements import statements

RED, ORANGE, BLUE, GREY, GREEN = "#e02f44", "#ff9830", "#5794f2", "#8e8e8e", "#56a64b"
TRACE = column(
    "trace", links=[link_to("trace", "Show the trace", trace_id="${__value.raw:percentencode}")], custom_width=290
)
SERVICE = column("service", links=[link_to("service", "Show the service", service="${__value.raw:percentencode}")])
LEVELS = [
    column(name, color={"mode": "fixed", "fixedColor": colour})
    for name, colour in (("ERROR", RED), ("WARN", ORANGE), ("INFO", BLUE), ("DEBUG", GREY))
]
LEVEL = column(
    "level",
    custom_width=80,
    custom_cellOptions={"type": "color-text"},
    mappings=[
        {
            "type": "value",
            "options": {
                name: {"color": colour, "index": index}
                for index, (name, colour) in enumerate(
                    (("ERROR", RED), ("WARN", ORANGE), ("INFO", BLUE), ("DEBUG", GREY))
                )
            },
        }
    ],
)
STATUS = column(
    "status",
    custom_width=90,
    custom_cellOptions={"type": "color-text"},
    mappings=[
        {
            "type": "value",
            "options": {
                "error": {"color": RED, "index": 0},
                "offline": {"color": RED, "index": 1},
                "degraded": {"color": ORANGE, "index": 2},
                "online": {"color": GREEN, "index": 3},
            },
        }
    ],
)
ERRORS = column("errors", unit="percentunit", decimals=1, custom_width=90)
TIME = column("time", unit="dateTimeAsIso", custom_width=170)
DURATIONS = [column(name, unit="ms", custom_width=90) for name in ("mean", "p50", "p95", "p99", "longest", "duration")]


def number(
    title: str, file: str, name: str, description: str, *, unit: str = "short", width: int = 4, **defaults: Any
) -> Panel:
    """One value, large."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "value",
        "orientation": "auto",
    }
    return Panel(
        title,
        "stat",
        description,
        [query(file, name)],
        width,
        4,
        unit,
        {"noValue": "none", **defaults},
        options=options,
        minimum_interval=None,
    )


def lines(
    title: str,
    file: str,
    name: str,
    description: str,
    *,
    unit: str = "short",
    width: int = 8,
    height: int = 8,
    style: str = "line",
    overrides: Sequence[Json] = (),
    interval: str = "1m",
    **defaults: Any,
) -> Panel:
    """Values over time. `style`: line, bars (stacked), or points."""
    custom: Json = {"drawStyle": style, "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": True}
    if style == "bars":
        custom |= {"fillOpacity": 80, "lineWidth": 0, "stacking": {"mode": "normal", "group": "A"}}
    if style == "points":
        custom |= {"pointSize": 4, "showPoints": "always"}
    return Panel(
        title,
        "timeseries",
        description,
        [query(file, name, series=True)],
        width,
        height,
        unit,
        {"min": 0, "custom": custom, **defaults},
        list(overrides),
        {
            "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        minimum_interval=interval,
    )


def table(
    title: str,
    file: str,
    name: str,
    description: str,
    *,
    width: int = 24,
    height: int = 9,
    columns: Sequence[Json] = (),
) -> Panel:
    """Rows, as they come. `columns` say how more columns are shown; those that all tables have in common are known."""
    shown = set(re.findall(r'AS "([^"]+)"', statements(file)[name]))
    return Panel(
        title,
        "table",
        description,
        [query(file, name)],
        width,
        height,
        "short",
        {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": True}},
        [one for one in (TIME, TRACE, SERVICE, LEVEL, STATUS, ERRORS, *DURATIONS, *columns) if _names(one) in shown],
        {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        minimum_interval=None,
    )


def _names(one: Json) -> str:
    name: str = one["matcher"]["options"]
    return name


def bars(title: str, file: str, name: str, description: str, *, unit: str, width: int = 12, height: int = 8) -> Panel:
    """A bar for each row: its first column names it, its second is the value."""
    return Panel(
        title,
        "bargauge",
        description,
        [query(file, name)],
        width,
        height,
        unit,
        {"min": 0, "color": {"mode": "palette-classic"}},
        options={
            "displayMode": "basic",
            "orientation": "horizontal",
            "showUnfilled": True,
            "valueMode": "color",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": True},
        },
        minimum_interval=None,
    )


def service_map(title: str, file: str, description: str, *, width: int, height: int) -> Panel:
    """Services and who calls whom, from the statements `map_nodes` and `map_edges`. The panel knows the two answers by
    the names of their queries."""
    return Panel(
        title,
        "nodeGraph",
        description,
        [query(file, "map_nodes", ref="nodes"), query(file, "map_edges", ref="edges")],
        width,
        height,
        options={
            "nodes": {
                "mainStatUnit": "reqps",
                "secondaryStatUnit": "percentunit",
                "arcs": [{"field": "arc__well", "color": GREEN}, {"field": "arc__failed", "color": RED}],
            },
            "edges": {"mainStatUnit": "reqps", "secondaryStatUnit": "ms"},
            "zoomMode": "cooperative",
        },
        minimum_interval=None,
    )


def waterfall(title: str, description: str, *, height: int) -> Panel:
    """The trace whose id is in the variable `trace_id`, as Grafana's own view of traces shows it."""
    return Panel(
        title,
        "traces",
        description,
        [{"refId": "A", "datasource": JAEGER, "query": "${trace_id}"}],
        24,
        height,
        minimum_interval=None,
        datasource=JAEGER,
    )
