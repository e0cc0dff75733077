"""Tests of instrumented code: spans, logs and metrics to assert on, and a real Ares to send to."""
