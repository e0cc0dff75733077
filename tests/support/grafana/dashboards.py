"""The dashboards, in the order of their page."""

from __future__ import annotations

from tests.support.grafana.exploring import LOGS, METRICS, TRACE, TRACES
from tests.support.grafana.itself import ITSELF
from tests.support.grafana.overview import OVERVIEW
from tests.support.grafana.service import SERVICE

DASHBOARDS = (OVERVIEW, SERVICE, TRACES, TRACE, LOGS, METRICS, ITSELF)
