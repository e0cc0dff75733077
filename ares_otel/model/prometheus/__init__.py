"""OpenTelemetry's metrics as Prometheus has them: names, labels, values, selectors and text. Pure: no I/O.

The rules are those of OpenTelemetry's "Prometheus and OpenMetrics Compatibility" and of the library that Prometheus
itself uses for its OTLP endpoint (prometheus/otlptranslator): the same telemetry has the same names on both ways.
"""
