"""A worker's process: `python -m ares_otel.cli.workers.main FD`, started by `ares-otel up --workers N` and by nobody
else. FD is its end of the channel."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress

# gRPC reads these when it is first imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from ares_otel.cli.process_limits import give_memory_back, raise_open_files
from ares_otel.cli.workers.worker import Worker

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
ORPHANED = 3
"""Exit status of a worker whose supervisor is gone."""


def main() -> None:
    """Runs until the supervisor says stop, or is gone."""
    die_with_the_supervisor()
    # Ctrl-C and a closed terminal are for the supervisor, which says what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[1]))
    end.set_inheritable(False)
    asyncio.run(run(end))


def die_with_the_supervisor() -> None:
    """Asks the kernel for SIGKILL at the supervisor's end, so that a worker that hangs ends too. What was acknowledged
    is stored or in the spool. Where the system has no such thing, the channel's end is noticed a moment later."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


async def run(end: socket.socket) -> None:
    """A worker's life. SIGTERM ends it like the supervisor's word, who then starts another one."""
    give_memory_back()
    raise_open_files()
    worker = Worker()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.wanted_to_stop.set)
    await worker.channel.open(end)
    stop = asyncio.create_task(worker.wanted_to_stop.wait())
    gone = asyncio.create_task(_leave_when(worker.channel.closed))
    await stop
    await worker.stop()
    gone.cancel()
    await worker.channel.close()


async def _leave_when(closed: asyncio.Event) -> None:
    await closed.wait()
    os._exit(ORPHANED)  # at once: the next Ares wants the ports and the spool


if __name__ == "__main__":
    main()
