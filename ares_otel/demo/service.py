"""One service of the shop as a process: `python -m ares_otel.demo.service NAME --listen-fd N …`.

The parent hands over the listening socket and holds the other end of standard input: when that closes, because the
parent was killed for instance, the process ends at once, so nothing is ever left behind. SIGTERM ends it in good
order: requests under way are answered and telemetry is sent. `ready` on standard output says that it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import threading
from collections.abc import Sequence
from types import FrameType

import uvicorn

from ares_otel.demo import inventory, orders, payments, storefront
from ares_otel.demo.runtime import Runtime
from ares_otel.demo.telemetry import Settings, Telemetry

BUILDERS = {
    "inventory": inventory.build,
    "orders": orders.build,
    "payments": payments.build,
    "storefront": storefront.build,
}
_VERSIONS = {"inventory": "3.1.0", "orders": "2.0.4", "payments": "1.12.1", "storefront": "5.2.0"}


class _Server(uvicorn.Server):
    """Says when it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            os.write(1, b"ready\n")


def _end_with_parent() -> None:
    # os.read and not sys.stdin: a thread that waits inside a buffered reader makes the interpreter abort at exit.
    while os.read(0, 1024):
        pass
    # The receiver most likely ended with the parent, so there is nobody to flush to.
    os._exit(0)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """uvicorn raises the signal it stopped for once more; by then it has been obeyed."""


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m ares_otel.demo.service", description=__doc__)
    parser.add_argument("name", choices=sorted(BUILDERS))
    parser.add_argument("--listen-fd", type=int, required=True, help="inherited listening TCP socket")
    parser.add_argument("--otlp-endpoint", required=True, help="base URL of the OTLP receiver")
    parser.add_argument("--otlp-protocol", choices=("grpc", "http/protobuf"), required=True)
    parser.add_argument("--gzip", action="store_true", help="compress what is exported")
    parser.add_argument("--delta", action="store_true", help="prefer delta temporality")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL", help="another service")
    parser.add_argument("--rate", type=float, default=4.0, help="visits a second (storefront)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    args = parser.parse_args(argv)

    threading.Thread(target=_end_with_parent, daemon=True).start()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _ignore)
    listening = socket.socket(fileno=args.listen_fd)
    host, port = listening.getsockname()
    telemetry = Telemetry(
        Settings(
            service=args.name,
            version=_VERSIONS[args.name],
            endpoint=args.otlp_endpoint,
            protocol=args.otlp_protocol,
            compressed=args.gzip,
            delta=args.delta,
        )
    )
    runtime = Runtime(
        telemetry=telemetry,
        peers=dict(peer.split("=", 1) for peer in args.peer),
        own_url=f"http://{host}:{port}",
        rate=args.rate,
        seed=args.seed,
    )
    config = uvicorn.Config(
        BUILDERS[args.name](runtime), log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    try:
        asyncio.run(_Server(config).serve(sockets=[listening]))
    finally:
        telemetry.shutdown()


if __name__ == "__main__":
    main()
