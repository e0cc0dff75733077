"""What an application imports: OpenTelemetry set up right, exporters straight into PostgreSQL, a logger and metrics
that are thin over the OTel API, and settings that apply while it runs."""
