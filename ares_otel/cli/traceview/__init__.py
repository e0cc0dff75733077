"""Traces in a terminal: `ares-otel trace` and `ares-otel traces`."""
