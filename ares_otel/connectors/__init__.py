"""Connectors: they make telemetry of one signal out of another."""
