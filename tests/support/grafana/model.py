"""Dashboards as Grafana's JSON model has them (classic schema, which version 12 still reads and migrates by itself):
data sources by their provisioned uid, 24 columns of grid, one row of panels after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.grafana.statements import statements

COLUMNS = 24
SCHEMA_VERSION = 41
"""Of Grafana 12; later ones migrate it."""
POSTGRESQL = {"type": "grafana-postgresql-datasource", "uid": "ares-postgresql"}
JAEGER = {"type": "jaeger", "uid": "ares-jaeger"}
ALL = "'*'"
"""What stands for all values in `ARRAY[$service]`: Grafana puts it there as it is, so it brings its quotes."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One panel. `width` is in columns of 24, `height` in grid units of 30 pixels."""

    title: str
    kind: str
    description: str
    targets: list[Json]
    width: int
    height: int = 8
    unit: str = "short"
    defaults: Json = field(default_factory=dict)
    overrides: list[Json] = field(default_factory=list)
    options: Json = field(default_factory=dict)
    minimum_interval: str | None = "1m"
    datasource: Json = field(default_factory=lambda: POSTGRESQL)

    def placed(self, number: int, x: int, y: int) -> Json:
        """Its JSON at a place of the grid."""
        made: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": self.datasource,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": {"unit": self.unit, **self.defaults}, "overrides": self.overrides},
            "options": self.options,
            "targets": self.targets,
        }
        if self.minimum_interval:
            made |= {"interval": self.minimum_interval, "maxDataPoints": 400}
        return made


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: its name in its address, its variables, and its panels row by row."""

    name: str
    title: str
    description: str
    variables: Sequence[Json]
    rows: Sequence[Sequence[Panel]]
    hidden: bool = False
    """Reached by links only."""

    @property
    def uid(self) -> str:
        return f"ares-{self.name}"

    def json(self) -> Json:
        """What Grafana reads."""
        panels: list[Json] = []
        y = 0
        for row in self.rows:
            x = 0
            for panel in row:
                panels.append(panel.placed(len(panels) + 1, x, y))
                x += panel.width
            y += max(panel.height for panel in row)
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["ares-otel"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": "now-1h", "to": "now"},
            "refresh": "" if self.hidden else "1m",
            "timepicker": {"refresh_intervals": ["30s", "1m", "5m", "15m", "1h"]},
            "links": [_other_dashboards()],
            "annotations": {"list": []},
            "templating": {"list": list(self.variables)},
            "panels": panels,
        }


def query(file: str, name: str, *, series: bool = False, ref: str = "A") -> Json:
    """A statement of `sql/FILE.sql` as a target: a table, or time series."""
    return {
        "refId": ref,
        "datasource": POSTGRESQL,
        "editorMode": "code",
        "format": "time_series" if series else "table",
        "rawQuery": True,
        "rawSql": statements(file)[name],
    }


def choice(name: str, label: str, statement: str, *, several: bool) -> Json:
    """A drop-down list out of the database. `several`: any number of values, and all, which is the default; else one.

    A list of several goes into `ARRAY[$name]`, where All is `'*'`; one goes between quotes, as `'${name}'`.
    """
    sql = statements("variables")[statement]
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": POSTGRESQL,
        "query": sql,
        "definition": sql,
        "refresh": 2,  # when the time range changes
        "sort": 0,
        "regex": "",
        "multi": several,
        "includeAll": several,
        **({"allValue": ALL, "current": {"selected": True, "text": "All", "value": "$__all"}} if several else {}),
        "options": [],
        "hide": 0,
    }


def fixed_choice(name: str, label: str, values: Sequence[str]) -> Json:
    """A drop-down list of fixed values: any number of them, or all."""
    return {
        "type": "custom",
        "name": name,
        "label": label,
        "query": ",".join(values),
        "multi": True,
        "includeAll": True,
        "allValue": ALL,
        "current": {"selected": True, "text": "All", "value": "$__all"},
        "options": [],
        "hide": 0,
    }


def text(name: str, label: str) -> Json:
    """A text field, empty at first; it goes between quotes, as `'${name}'`."""
    return {
        "type": "textbox",
        "name": name,
        "label": label,
        "query": "",
        "current": {"selected": False, "text": "", "value": ""},
        "options": [],
        "hide": 0,
    }


def link_to(dashboard: str, title: str, **variables: str) -> Json:
    """A link of a value to another dashboard with the same time range; keywords are its variables, as Grafana's
    expressions."""
    given = "".join(f"var-{name}={value}&" for name, value in variables.items())
    return {"title": title, "url": f"/d/ares-{dashboard}/{dashboard}?{given}${{__url_time_range}}"}


def column(name: str, **properties: Any) -> Json:
    """How one column of a table, or one series, is shown. Keywords are ids of properties, `custom_` and a word is the
    id `custom.` and that word."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("_", ".", 1) if key.startswith("custom_") else key, "value": value}
            for key, value in properties.items()
        ],
    }


def thresholds(**steps: float) -> Mapping[str, Any]:
    """Colours from values on; below the first it is green."""
    marks: list[Json] = [{"color": "green", "value": None}]
    marks += [{"color": colour, "value": value} for colour, value in steps.items()]
    return {"thresholds": {"mode": "absolute", "steps": marks}}


def _other_dashboards() -> Json:
    return {
        "type": "dashboards",
        "title": "Ares OTel",
        "tags": ["ares-otel"],
        "asDropdown": True,
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "The other dashboards, with the same time range",
        "url": "",
    }
