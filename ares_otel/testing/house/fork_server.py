"""A process that has imported what `ares-otel up` needs, and forks it on demand.

It has one thread and no event loop, and has started no gRPC: a fork of it is as good as a new process. What it forked
ends with it, and it ends when the other end of its channel closes, also by a SIGKILL.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
from importlib import import_module
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LONGEST = 65_536
_MODULES = ("ares_otel.cli.main", "ares_otel.cli.options", "ares_otel.cli.up")
"""The program. By name, because this is not a part of it: it becomes it."""


def main() -> None:
    """Serves the channel whose number the command line gives."""
    for name in _MODULES:
        import_module(name)
    gc.collect()
    gc.freeze()  # the collector of a fork would touch, and so copy, all of it
    channel = socket.socket(fileno=int(sys.argv[1]))
    children: set[int] = set()
    while True:
        message, files, _, _ = socket.recv_fds(channel, _LONGEST, 2)
        if not message:
            break
        request = json.loads(message)
        if "kill" in request:
            _end(request["kill"], children)
            continue
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            channel.close()
            _become(request["fork"], files, parent)
            return
        children.add(pid)
        for number in files:
            os.close(number)
        channel.send(str(pid).encode())
    for pid in list(children):
        _end(pid, children)
    os._exit(0)  # there is nothing to tidy up, and much that the interpreter would


def _end(pid: int, children: set[int]) -> None:
    """A child that is not reaped keeps its number, so nobody else is hit."""
    if pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        children.discard(pid)


def _become(arguments: list[str], files: list[int], parent: int) -> None:
    """From here on this is `ares-otel ARGUMENTS`."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended in between
    os.setsid()
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(file, number)
        os.close(file)
    module: Any = sys.modules["__main__"]
    module.__package__ = None  # where Typer looks for the name of the program
    sys.argv = ["ares-otel", *arguments]
    sys.modules["ares_otel.cli.main"].run()
