"""Remote read: a Prometheus that answers queries also with what Ares has. Requests, and answers of both types."""
