"""A relay for HTTP that keeps each request with its answer: what a client of which nobody knows what it sends said."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_SECONDS = 60
_OF_THE_CONNECTION = {"connection", "keep-alive", "content-length"}
_OF_THE_BODY = {"transfer-encoding"}


@dataclass(frozen=True)
class Exchange:
    """A request and its answer; names of headers are small."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer_headers: dict[str, str]
    answer: bytes


class Recorder:
    """A running relay; `url` has no slash at its end, `exchanges` are in the order of their answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.exchanges: list[Exchange] = []


@contextmanager
def http_recorder(target: str) -> Iterator[Recorder]:
    """A relay on a port of its own to the server at `target`, `http://host:port`. It takes POST; a body that comes in
    chunks goes on in one."""
    where = urlsplit(target)
    assert where.hostname is not None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            chunked = self.headers.get("transfer-encoding") == "chunked"
            body = b"".join(self._chunks()) if chunked else self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
            connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=_SECONDS)
            try:
                connection.request(
                    "POST", self.path, iter([body]) if chunked else body, headers, encode_chunked=chunked
                )
                answer = connection.getresponse()
                text = answer.read()
            finally:
                connection.close()
            unwanted = _OF_THE_CONNECTION | _OF_THE_BODY  # it is read whole here
            answered = {name: value for name, value in answer.getheaders() if name.lower() not in unwanted}
            recorder.exchanges.append(Exchange(self.path, _small(headers), body, answer.status, _small(answered), text))
            self.send_response_only(answer.status)
            for name, value in answered.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the test prints what it needs."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder = Recorder(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _small(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
