"""Pages of applications that are scraped: two texts, and the official client's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, start_http_server

PAGE = b"""\
# HELP orders_total Orders "placed".
# TYPE orders_total counter
orders_total{kind="a\\"b\\\\c\\n"} 3
orders_total{kind="\xe2\x98\x83",job="inner"} 4.5
# TYPE queue_size gauge
queue_size 7
plain{a="b"} -0.25
never NaN
# TYPE wait_seconds histogram
wait_seconds_bucket{m="GET",le="0.1"} 1
wait_seconds_bucket{m="GET",le="2.5"} 3
wait_seconds_bucket{m="GET",le="+Inf"} 4
wait_seconds_sum{m="GET"} 6.25
wait_seconds_count{m="GET"} 4
# TYPE odd histogram
odd_bucket{le="1"} 1.5
odd_bucket{le="+Inf"} 2
odd_sum 1
odd_count 2
# TYPE size_bytes summary
size_bytes{quantile="0.5"} 12
size_bytes{quantile="0.99"} 80.5
size_bytes_sum 99
size_bytes_count 5
"""
OPENMETRICS = b"""\
# TYPE orders counter
# HELP orders Orders.
orders_total{kind="a"} 3 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 1 1.5
orders_created{kind="a"} 1700000000.25
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_bucket{le="0.5"} 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.25
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 6.25
wait_seconds_count 4
wait_seconds_created 1700000000.25
# TYPE sizes gaugehistogram
sizes_bucket{le="10.0"} 1
sizes_bucket{le="+Inf"} 2
sizes_gcount 2
sizes_gsum 30
# TYPE build info
build_info{version="1.2"} 1
# TYPE state stateset
state{state="on"} 0
state{state="off"} 1
# TYPE odd unknown
odd 1e-300
# TYPE size_bytes summary
size_bytes{quantile="0.5"} 12
size_bytes_sum 99
size_bytes_count 5
# EOF
"""


class Application:
    """The official client's page."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.orders = Counter("orders", "Orders.", ["kind"], registry=registry)
        self.orders.labels("a").inc(3, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
        Gauge("queue_size", "Waiting.", registry=registry).set(7)
        self.waits = Histogram("wait_seconds", "Wait.", registry=registry, buckets=(0.1, 1))
        self.waits.observe(0.5)
        Summary("size_bytes", "Size.", registry=registry).observe(4)
        Info("build", "Build.", registry=registry).info({"version": "1.2"})
        self.server, self._thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        self.address = f"127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
