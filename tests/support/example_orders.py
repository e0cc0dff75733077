"""The FastAPI service of `examples/` as a process, and requests to it in traces of the test's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from tests.support.example import Example, module
from tests.support.ports import free_port

PLACED, FOUND, MISSING, FAILED = "placed", "found", "missing", "failed"


@dataclass(frozen=True, slots=True)
class Sent:
    """Trace ids in hex of the requests, by what became of them; `symbol` is in labels of the metrics."""

    traces: Mapping[str, str]
    symbol: str
    parent: str = "00f067aa0ba902b7"

    def headers(self, name: str) -> dict[str, str]:
        return {"traceparent": f"00-{self.traces[name]}-{self.parent}-01"}


def send(url: str) -> Sent:
    """Four requests, each in a trace of its own."""
    traces = {name: uuid.uuid4().hex for name in (PLACED, FOUND, MISSING, FAILED)}
    sent = Sent(traces, f"T{uuid.uuid4().hex[:10]}")
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        order = {"symbol": sent.symbol, "amount": 1.5}
        number = client.post("/orders", json=order, headers=sent.headers(PLACED)).raise_for_status().json()["id"]
        assert client.get(f"/orders/{number}", headers=sent.headers(FOUND)).json() == order
        assert client.get("/orders/987654321", headers=sent.headers(MISSING)).status_code == 404
        path = f"/orders/{number}/share?people=0"
        assert client.get(path, headers=sent.headers(FAILED)).status_code == 500
    return sent


def orders(env: Mapping[str, str]) -> Example:
    """The service, as its head comment starts it.

    Args:
        env: with `DATABASE_URL`.
    """
    port = free_port()
    words = ("uvicorn", "--app-dir", "examples/fastapi_orders", "app:app", "--port", str(port))
    return Example(module(*words), port, env)
