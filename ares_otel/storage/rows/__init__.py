"""OTLP messages to rows in PostgreSQL's binary COPY format, and back. Pure Python: the reference."""
