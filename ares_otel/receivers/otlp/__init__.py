"""The `otlp` receiver: OTLP over gRPC and over HTTP (protobuf and JSON), one path for all signals."""
