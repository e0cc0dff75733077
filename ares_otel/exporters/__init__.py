"""Exporters: where batches go. `postgres` decides the answer; the others take what it stored, from a queue."""
