"""A page that a Prometheus scrapes: an application of a test that changes with each look at it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


@contextmanager
def metrics_page(content: Callable[[int], bytes | None], content_type: str = PROTOBUF) -> Iterator[str]:
    """`host:port` of a server that answers `content(number)` to look number 1, 2, … at any path; 503 for None."""
    lock = threading.Lock()
    looks = 0

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal looks
            with lock:
                looks += 1
                body = content(looks)
            self.send_response(503 if body is None else 200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Not on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
