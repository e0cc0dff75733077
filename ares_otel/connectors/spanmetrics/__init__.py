"""The `spanmetrics` connector: calls and durations of spans as metrics."""
