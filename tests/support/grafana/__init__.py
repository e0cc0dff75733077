"""Ares's dashboards for Grafana: made here, written to `deploy/grafana/dashboards` by `python -m
tests.support.grafana`, and their SQL run in tests as Grafana's data source for PostgreSQL runs it."""
