"""A sender over OTLP/HTTP."""

from __future__ import annotations

from ares_otel.cli.bench.http_client import HttpClient
from ares_otel.model.signal import Signal

_LATER = (429, 502, 503, 504)


class HttpConnection:
    """One connection that is kept open."""

    def __init__(self, target: str, signal: Signal) -> None:
        self._client = HttpClient(target)
        self._path = signal.http_path

    async def open(self) -> None:
        await self._client.open()

    async def send(self, body: bytes) -> bool:
        """Whether it was taken; False when the sender shall come again. Raises RuntimeError for any other answer."""
        status, answer = await self._client.post(self._path, body, "application/x-protobuf")
        if status in _LATER:
            return False
        if status != 200:
            raise RuntimeError(f"Ares answered {status}: {answer[:200]!r}")
        return True

    async def close(self) -> None:
        await self._client.close()
