"""A small FastAPI service under remote control: `python -m tests.support.remote_app PORT`."""

from __future__ import annotations

import logging
import sys

import uvicorn
from fastapi import FastAPI

import ares_otel

app = FastAPI()
log = logging.getLogger("orders.checkout")


@app.get("/orders/{number}")
async def order(number: int) -> int:
    log.debug("looked up order %d", number)
    return number


@app.get("/health")
async def health() -> str:
    return "well"


if __name__ == "__main__":
    port = int(sys.argv[1])
    telemetry = ares_otel.configure("orders", service_version="1.4.2", app=app, port=port)

    @app.get("/revision")
    async def revision() -> int:
        return telemetry.settings.revision

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
