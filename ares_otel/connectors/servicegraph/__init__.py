"""The `servicegraph` connector: requests between services as metrics."""
