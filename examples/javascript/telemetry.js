// The official OpenTelemetry SDK for JavaScript; nothing of Ares. What it sends, and where, is said by OTEL_* variables:
// the defaults are Ares's own doors.
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");
const { UndiciInstrumentation } = require("@opentelemetry/instrumentation-undici");
const { NodeSDK } = require("@opentelemetry/sdk-node");

const sdk = new NodeSDK({
  serviceName: process.env.OTEL_SERVICE_NAME ?? "checkout",
  instrumentations: [
    new HttpInstrumentation(), // requests that come in
    new UndiciInstrumentation(), // requests that go out, by fetch()
  ],
});
sdk.start();

process.once("SIGTERM", () => sdk.shutdown().finally(() => process.exit(0)));
