"""Exporters of the OpenTelemetry SDK that write into PostgreSQL without a server in between."""
