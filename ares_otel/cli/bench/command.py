"""The commands `ares-otel bench …`: options here, work in the other files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ares_otel.cli import console
from ares_otel.cli.bench.implementation import Implementation
from ares_otel.model.errors import AresError

if TYPE_CHECKING:
    from ares_otel.cli.bench.report import Report

bench = typer.Typer(
    no_args_is_help=True,
    help="Measure on this machine. Compare ratios within one run, not figures of different runs or machines.",
)


class SignalName(StrEnum):
    """What `--signal` takes."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


class Protocol(StrEnum):
    """What `--protocol` takes."""

    GRPC = "grpc"
    HTTP = "http"


DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="ARES_OTEL_DATABASE_URL",
        show_default="an embedded server in a temporary directory",
        help="Measure on this PostgreSQL. The rows that are written stay there.",
    ),
]
Signals = Annotated[
    list[SignalName] | None,
    typer.Option("--signal", show_default="traces", help="What is sent; give it more than once for several."),
]
Requests = Annotated[
    int, typer.Option(min=1, max=10_000, help="Requests in each round; one of spans or logs holds 512 items.")
]
Rounds = Annotated[int, typer.Option(min=1, max=50, help="Rounds that count; the median is printed.")]
WithProtocol = Annotated[Protocol, typer.Option("--protocol", help="How requests are sent.")]
Senders = Annotated[
    list[int] | None,
    typer.Option(
        "--senders",
        min=1,
        max=64,
        show_default="4",
        help="Senders with one request in flight each, and connections of the floor; more than once for several.",
    ),
]
Wanted = Annotated[
    Implementation, typer.Option("--implementation", help="Row encoder of Ares; auto takes what Ares would take.")
]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes of Ares, as in `ares-otel up --workers`.")]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", show_default=False, help="Write the figures as JSON to this file; - prints them."),
]
Write = Annotated[
    bool,
    typer.Option(
        "--write", help="Put the figures into the table of benchmarks/README.md, instead of those of the same command."
    ),
]


@bench.command()
def floor(
    database_url: DatabaseUrl = None,
    signal: Signals = None,
    requests: Requests = 200,
    rounds: Rounds = 5,
    connections: Annotated[int, typer.Option(min=1, max=64, help="Connections that copy at once.")] = 4,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """Rows a second that PostgreSQL takes: binary COPY of ready-made rows into the real tables. About a minute."""
    from ares_otel.cli.bench import runs

    _run(
        lambda report: runs.floor(report, database_url, _names(signal), requests, rounds, connections), json_file, write
    )


@bench.command()
def ingest(
    database_url: DatabaseUrl = None,
    signal: Signals = None,
    requests: Requests = 200,
    rounds: Rounds = 5,
    senders: Senders = None,
    protocol: WithProtocol = Protocol.GRPC,
    implementation: Wanted = Implementation.AUTO,
    workers: Workers = 1,
    batch: Annotated[
        int,
        typer.Option(
            min=0,
            max=100_000,
            show_default="as SDKs send them",
            help="Join requests to about so many items each, as a Collector in front does; its batch processor takes "
            "8192. `--requests` counts them before.",
        ),
    ] = 0,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """Items a second from OTLP to committed rows, their ratio to the floor, measured in turns, and the processor
    seconds of senders, Ares and PostgreSQL. One to two minutes for each signal, number of senders and encoder."""
    from ares_otel.cli.bench import runs

    _run(
        lambda report: runs.ingest(
            report,
            database_url,
            _names(signal),
            requests,
            rounds,
            senders or [4],
            protocol.value,
            implementation,
            workers,
            batch,
        ),
        json_file,
        write,
    )


@bench.command()
def latency(
    database_url: DatabaseUrl = None,
    requests: Requests = 200,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long requests are sent at half load.")] = 20.0,
    protocol: WithProtocol = Protocol.GRPC,
    implementation: Wanted = Implementation.AUTO,
    workers: Workers = 1,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """Time to the answer at half of the most that goes through. Requests are sent by the clock, whether answers come or
    not, and a request's time runs from when it was due. About a minute."""
    from ares_otel.cli.bench import runs

    _run(
        lambda report: runs.latency(report, database_url, requests, seconds, protocol.value, implementation, workers),
        json_file,
        write,
    )


@bench.command()
def query(
    database_url: DatabaseUrl = None,
    spans: Annotated[
        list[int] | None,
        typer.Option(
            "--spans",
            min=1,
            max=100_000_000,
            show_default="100000 and 1000000",
            help="Spans in the database; more than once for several, each in a database of its own. A million takes "
            "a minute or two to fill in; ten million take a quarter of an hour, and 15 GB of disk.",
        ),
    ] = None,
    hours: Annotated[
        int, typer.Option(min=1, max=720, help="Hours before now over which the spans are spread evenly.")
    ] = 168,
    implementation: Wanted = Implementation.AUTO,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """How long questions take with few and with many spans: the SQL alone, through the API, and how they grow."""
    from ares_otel.cli.bench import runs

    sizes = spans or [100_000, 1_000_000]
    _run(lambda report: runs.query(report, database_url, sizes, hours, implementation), json_file, write)


@bench.command()
def storage(
    database_url: DatabaseUrl = None,
    spans: Annotated[int, typer.Option(min=512, max=10_000_000, help="Spans that are sent.")] = 200_000,
    implementation: Wanted = Implementation.AUTO,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """Bytes of a span, a log record and a sample: heap, TOAST and each index, open and sealed, and the write-ahead log.
    About a minute."""
    from ares_otel.cli.bench import runs

    _run(lambda report: runs.storage(report, database_url, spans, implementation), json_file, write)


@bench.command()
def idle(
    database_url: DatabaseUrl = None,
    settle: Annotated[float, typer.Option(min=0, max=600, help="Seconds after the start that are not counted.")] = 30.0,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Seconds that are measured.")] = 60.0,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """Processor time and memory of a started Ares to which nobody sends anything, PostgreSQL with it."""
    from ares_otel.cli.bench import runs

    _run(lambda report: runs.idle(report, database_url, settle, seconds), json_file, write)


@bench.command()
def start(
    database_url: DatabaseUrl = None,
    rounds: Rounds = 5,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """Seconds from the command to the first accepted spans, on a new data directory and on the same one again."""
    from ares_otel.cli.bench import runs

    _run(lambda report: runs.start(report, database_url, rounds), json_file, write)


@bench.command()
def sdk(
    database_url: DatabaseUrl = None,
    calls: Annotated[int, typer.Option(min=1, max=1_000_000, help="Calls of each kind in a round.")] = 6_000,
    rounds: Rounds = 5,
    json_file: JsonFile = None,
    write: Write = False,
) -> None:
    """What an instrumented call and an instrumented request cost their application: with the stock OTLP exporters, with
    Ares's own into PostgreSQL, without any, and while nobody takes the telemetry."""
    from ares_otel.cli.bench import runs

    _run(lambda report: runs.sdk(report, database_url, calls, rounds), json_file, write)


@bench.command("all")
def everything(database_url: DatabaseUrl = None, json_file: JsonFile = None, write: Write = False) -> None:
    """Each of these, small: a few minutes for a first impression. What is quoted comes from the single commands."""
    from ares_otel.cli.bench import runs

    _run(lambda report: runs.everything(report, database_url), json_file, write)


def _names(given: list[SignalName] | None) -> list[str]:
    return [name.value for name in given or [SignalName.TRACES]]


def _run(measure: Callable[[Report], Coroutine[Any, Any, None]], json_file: Path | None, write: bool) -> None:
    from ares_otel.cli.bench.report import Report

    try:
        report = Report()
        asyncio.run(measure(report))
        report.finish(json_file, write)
    except AresError as error:
        console.error(error.message)
        raise typer.Exit(1) from error
