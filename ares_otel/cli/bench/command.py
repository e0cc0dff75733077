"""The commands `ares-otel bench floor` and `ares-otel bench ingest`."""

from __future__ import annotations

import asyncio
from statistics import median
from typing import Annotated

import typer

from ares_otel.cli import console
from ares_otel.model.errors import StartError

bench = typer.Typer(
    help="Measure on this machine. Numbers of different machines or runs cannot be compared; ratios can."
)

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="ARES_OTEL_DATABASE_URL",
        show_default="an embedded server in a temporary directory",
        help="Measure on this PostgreSQL. The rows that are written stay there.",
    ),
]
Spans = Annotated[int, typer.Option(min=512, max=5_000_000, help="Spans in each round, rounded up to whole requests.")]
Rounds = Annotated[int, typer.Option(min=1, max=50, help="Rounds; the median is printed.")]
Connections = Annotated[int, typer.Option(min=1, max=64, help="Connections of the floor, senders of ingest.")]


@bench.command()
def floor(
    database_url: DatabaseUrl = None, spans: Spans = 102_400, rounds: Rounds = 5, connections: Connections = 4
) -> None:
    """Rows a second that PostgreSQL takes: binary COPY of ready-made rows into the real tables."""
    _run(database_url, spans, rounds, connections, ingest=False)


@bench.command()
def ingest(
    database_url: DatabaseUrl = None, spans: Spans = 102_400, rounds: Rounds = 5, connections: Connections = 4
) -> None:
    """Spans a second from OTLP/gRPC to committed rows, and its ratio to the floor, measured in turns."""
    _run(database_url, spans, rounds, connections, ingest=True)


def _run(database_url: str | None, spans: int, rounds: int, connections: int, *, ingest: bool) -> None:
    try:
        asyncio.run(_measure(database_url, spans, rounds, connections, ingest=ingest))
    except StartError as error:
        console.error(error.message)
        raise typer.Exit(1) from error


async def _measure(database_url: str | None, spans: int, rounds: int, connections: int, *, ingest: bool) -> None:
    from ares_otel.cli.bench.data import SPANS_A_REQUEST, make_requests
    from ares_otel.cli.bench.floor import encode_rows, run_floor
    from ares_otel.cli.bench.ingest import run_ingest
    from ares_otel.cli.bench.process import running_ares

    count = -(-spans // SPANS_A_REQUEST)
    floors: list[float] = []
    rates: list[float] = []
    async with running_ares(database_url) as running:
        url = running.doors["database"]
        for number in range(rounds + 1):  # round 0 warms caches and is not counted
            requests = make_requests(count, seed=number)
            floor_rate = await run_floor(url, await encode_rows(url, requests), requests.spans, connections=connections)
            rate = await run_ingest(running, requests, senders=connections) if ingest else 0.0
            if number:
                floors.append(floor_rate)
                rates.append(rate)
                line = f"round {number}: floor {floor_rate:,.0f} rows/s"
                console.progress(
                    line + (f", ingest {rate:,.0f} spans/s, ratio {rate / floor_rate:.3f}" if ingest else "")
                )
    each = f"median of {rounds} rounds of {count * SPANS_A_REQUEST:,} spans, {connections}"
    typer.echo(f"floor   {median(floors):>10,.0f} rows/s   ({each} connections)")
    if ingest:
        ratio = median(rate / floor_rate for rate, floor_rate in zip(rates, floors, strict=True))
        typer.echo(f"ingest  {median(rates):>10,.0f} spans/s  ({each} senders)")
        typer.echo(f"ratio   {ratio:>10.3f}          (median of the rounds' ratios)")
