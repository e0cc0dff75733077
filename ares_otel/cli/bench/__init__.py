"""`ares-otel bench`: how close ingest comes to what PostgreSQL itself can do, measured in one run."""
