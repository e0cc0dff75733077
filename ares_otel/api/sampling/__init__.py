"""The sampling protocol of Jaeger's clients, over HTTP and gRPC, and what Ares itself says about it."""
