"""Jaeger's query APIs over the same rows: HTTP v1, HTTP and gRPC v3, remote storage v2. No SQL here."""
