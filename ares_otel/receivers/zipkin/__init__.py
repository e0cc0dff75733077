"""The `zipkin` receiver: Zipkin v2 over HTTP, JSON and protobuf."""
