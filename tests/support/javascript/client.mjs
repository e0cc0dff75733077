// Sends spans, logs and metrics with the official JavaScript SDK and prints what it sent as one line of JSON.
// Arguments: OTLP/HTTP base URL, `proto` or `json`, service name.
import { metrics, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { logs, SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter as JsonLogs } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPLogExporter as ProtoLogs } from "@opentelemetry/exporter-logs-otlp-proto";
import { OTLPMetricExporter as JsonMetrics } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPMetricExporter as ProtoMetrics } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter as JsonSpans } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoSpans } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { AggregationType, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { NodeSDK } from "@opentelemetry/sdk-node";

const [base, encoding, service] = process.argv.slice(2);
const [Spans, Logs, Metrics] =
  encoding === "json" ? [JsonSpans, JsonLogs, JsonMetrics] : [ProtoSpans, ProtoLogs, ProtoMetrics];

const sdk = new NodeSDK({
  resource: resourceFromAttributes({
    "service.name": service,
    "service.version": "7.8.9",
    "service.instance.id": `${service}-1`,
  }),
  autoDetectResources: false,
  traceExporter: new Spans({ url: `${base}/v1/traces` }),
  logRecordProcessors: [new BatchLogRecordProcessor({ exporter: new Logs({ url: `${base}/v1/logs` }) })],
  metricReaders: [
    new PeriodicExportingMetricReader({
      exporter: new Metrics({ url: `${base}/v1/metrics` }),
      exportIntervalMillis: 60_000, // everything goes out with the shutdown
    }),
  ],
  views: [
    {
      instrumentName: "js.latency.exponential",
      aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM },
    },
  ],
});
sdk.start();

const tracer = trace.getTracer("js-client", "0.1.0");
const logger = logs.getLogger("js-client", "0.1.0");
const meter = metrics.getMeter("js-client", "0.1.0");

const sent = tracer.startActiveSpan(
  "js parent",
  {
    kind: SpanKind.SERVER,
    attributes: {
      "text": "grüße 🚀",
      "integer": 42,
      "double": 2.5,
      "yes": true,
      "list": ["a", "b"],
    },
  },
  (parent) => {
    const { traceId, spanId } = parent.spanContext();
    parent.addEvent("js event", { step: 1 });
    const child = tracer.startActiveSpan(
      "js child",
      { kind: SpanKind.CLIENT, links: [{ context: parent.spanContext(), attributes: { why: "test" } }] },
      (span) => {
        span.recordException(new TypeError("does not compute"));
        span.setStatus({ code: SpanStatusCode.ERROR, message: "failed on purpose" });
        logger.emit({
          severityNumber: SeverityNumber.WARN2,
          severityText: "WARN2",
          body: "log line of the child",
          attributes: { "nested": { deep: [1, "two"] }, "code.file.path": "client.mjs", "code.line.number": 7 },
        });
        span.end();
        return span.spanContext().spanId;
      },
    );
    logger.emit({ severityNumber: SeverityNumber.INFO, body: { structured: true, items: [1, 2] } });
    parent.end();
    return { trace_id: traceId, parent: spanId, child };
  },
);

meter.createCounter("js.requests", { unit: "{request}" }).add(3, { route: "/a" });
meter.createUpDownCounter("js.queue").add(-2);
meter.createGauge("js.temperature").record(21.5, { room: "north" });
meter.createObservableGauge("js.observed").addCallback((result) => result.observe(7));
const explicit = meter.createHistogram("js.latency.explicit", {
  advice: { explicitBucketBoundaries: [1, 10, 100] },
});
const exponential = meter.createHistogram("js.latency.exponential");
for (const value of [0.5, 5, 50, 500]) {
  explicit.record(value);
  exponential.record(value);
}

await sdk.shutdown();
console.log(JSON.stringify(sent));
