"""TCP ports for programs that must know theirs beforehand."""

from __future__ import annotations

import random
import socket

_BELOW = 20_000
"""First port to try. The system takes ports from 32,768 on for connections that go out and for port 0."""
_ABOVE = 32_000

_taken: list[socket.socket] = []
"""Names in the abstract namespace of Unix sockets, one for each port given out, until this process ends."""


def free_port() -> int:
    """A TCP port of loopback that nothing listens on, and that nobody else is given while this process lives: neither
    another test, nor a connection of any program, also while what listens there is stopped and started again."""
    ports = random.sample(range(_BELOW, _ABOVE), 200)
    for port in ports:
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0ares-otel-test-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            name.close()
            continue
        _taken.append(name)
        return port
    raise RuntimeError(f"none of {len(ports)} ports between {_BELOW} and {_ABOVE} is free")
