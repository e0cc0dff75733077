"""Zipkin's span model v2, its two encodings, and the way to OTLP and back."""
