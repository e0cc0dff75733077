"""`ares-otel up`: runs the house until somebody stops it, and says what a person or a program needs to know."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys

from ares_otel.cli import console
from ares_otel.cli.ares import Ares
from ares_otel.cli.options import UpOptions
from ares_otel.cli.process_limits import give_memory_back, raise_open_files, spare_the_collector
from ares_otel.cli.terminal import Terminal
from ares_otel.demo.queries import queries
from ares_otel.model.errors import StartError


async def run_up(options: UpOptions) -> int:
    """Runs Ares until SIGINT or SIGTERM, a second of which ends sooner; SIGHUP reads the configuration file again.
    Returns the exit status."""
    give_memory_back()
    raise_open_files()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    reload = asyncio.Event()
    terminal = Terminal()
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        loop.add_signal_handler(signal.SIGHUP, reload.set)
    ares = Ares(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: ares.hurry() if stop.is_set() else stop.set())
    starting = asyncio.create_task(ares.start())
    try:
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            spare_the_collector()
            for name in sorted(ares.doors, key=_door_order):
                console.door(name, ares.doors[name])
            console.ready()
            if options.demo:
                console.hint("Some questions to ask, in another terminal:")
                for title, command in queries(ares.doors, psql=_psql_command(options)):
                    console.hint(f"\n  {title}\n    {command}")
                console.hint("\nCtrl-C stops all of it.")
            while not stop.is_set():
                asking = asyncio.create_task(reload.wait())
                await asyncio.wait({asking, stopped}, return_when=asyncio.FIRST_COMPLETED)
                asking.cancel()
                if reload.is_set() and not stop.is_set():
                    reload.clear()
                    if terminal.gone:
                        stop.set()  # the window was closed: that is how a program in the foreground ends
                    else:
                        await ares.reload()
            console.progress("stopping ...")
        else:
            console.progress("stopping before the start was complete ...")
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
    except StartError as error:
        console.error(error.message)
        return 1
    finally:
        await ares.stop()
    console.progress("stopped.")
    return 0


def _door_order(name: str) -> int:
    order = ("http", "otlp-grpc", "otlp-http", "jaeger-grpc", "jaeger-http", "zipkin", "sampling")
    return order.index(name) if name in order else len(order) + (name == "database")


def _psql_command(options: UpOptions) -> str:
    """How this very program opens psql on this very database."""
    words = (
        [sys.argv[0], "psql"]
        if not sys.argv[0].endswith(".py")
        else [sys.executable, "-m", "ares_otel.cli.main", "psql"]
    )
    if options.database_url is None and "data_dir" in options.given:
        words += ["--data-dir", str(options.data_dir)]
    if options.database_url is not None:
        return "psql YOUR_DATABASE_URL"  # it may hold a password, which does not belong on a screen
    return shlex.join(words)
