"""Ares OTel: OpenTelemetry in, plain PostgreSQL tables out."""

__version__ = "0.1.0"
