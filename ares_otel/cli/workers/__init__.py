"""`ares-otel up --workers N`: one supervisor and N ingest processes on the same ports (docs/workers.md)."""
