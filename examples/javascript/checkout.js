// Takes a cart and places an order with the Python service: one trace over both.
//
//   ares-otel up                                                            # in one terminal
//   DATABASE_URL=URL uvicorn --app-dir examples/fastapi_orders app:app --port 8000    # in another, with the URL it printed
//   cd examples/javascript && npm ci && npm start                           # in a third
//   curl -X POST 'localhost:8003/checkout?symbol=BTC-USD&amount=1.5'
const http = require("node:http");
const { trace } = require("@opentelemetry/api");
const { logs, SeverityNumber } = require("@opentelemetry/api-logs");

const orders = process.env.ORDERS_URL ?? "http://127.0.0.1:8000";
const log = logs.getLogger("checkout");

const server = http.createServer(async (request, response) => {
  const cart = new URL(request.url, "http://localhost").searchParams;
  const order = { symbol: cart.get("symbol"), amount: Number(cart.get("amount")) };
  try {
    const answer = await fetch(`${orders}/orders`, {
      method: "POST",
      headers: { "Content-Type": "application/json" }, // the instrumentation adds traceparent
      body: JSON.stringify(order),
    });
    const placed = await answer.json();
    log.emit({ severityNumber: SeverityNumber.INFO, severityText: "INFO", body: `checked out ${order.symbol}` });
    response.writeHead(answer.status, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ ...placed, trace_id: trace.getActiveSpan()?.spanContext().traceId }));
  } catch (error) {
    log.emit({ severityNumber: SeverityNumber.ERROR, severityText: "ERROR", body: `no order: ${error.message}` });
    response.writeHead(502).end(`${error.message}\n`);
  }
});
server.listen(Number(process.env.PORT ?? 8003), "127.0.0.1", () => {
  console.log(`checkout listens on http://127.0.0.1:${server.address().port}`);
});
