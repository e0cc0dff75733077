"""The `prometheus` receiver: scrapes pages of metrics, as a Prometheus does."""
