"""Telemetry of a company of 48 services, from a fixed seed: whole traces, logs that belong to them, and metrics.

A set of requests is built once with protobuf (`traces`, `logs`, `metrics`) and then repeated with other ids and other
times by arithmetic on the bytes (`template`), so that millions of items cost seconds.
"""

from ares_otel.cli.bench.data.requests import ITEMS_A_REQUEST, WINDOW_NS, Requests, Source

__all__ = ["ITEMS_A_REQUEST", "WINDOW_NS", "Requests", "Source"]
