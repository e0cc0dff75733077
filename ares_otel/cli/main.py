"""The command `ares-otel`: parses options and calls the command's own file."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ares_otel import __version__
from ares_otel.cli import console
from ares_otel.cli.arguments import DatabaseUrl, DataDir, SpoolDir
from ares_otel.cli.bench.command import bench
from ares_otel.cli.config import config as config_commands
from ares_otel.cli.partitions import partitions as partition_commands
from ares_otel.cli.rejected import rejected as rejected_commands
from ares_otel.cli.spool import spool as spool_commands
from ares_otel.cli.traceview import commands as trace_commands
from ares_otel.model.errors import StartError
from ares_otel.storage.assets import asset

# gRPC reads these when it is first imported, which the commands do later. Ares starts PostgreSQL from a process in
# which gRPC runs; the child replaces itself at once, so gRPC need not, and shall not, prepare for a fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

app = typer.Typer(
    name="ares-otel",
    help="OpenTelemetry in, plain PostgreSQL tables out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(bench, name="bench")
app.add_typer(config_commands, name="config")
app.add_typer(spool_commands, name="spool")
app.add_typer(rejected_commands, name="rejected")
app.add_typer(partition_commands, name="partitions")
app.command()(trace_commands.trace)
app.command()(trace_commands.traces)

Config = Annotated[
    Path,
    typer.Option(
        envvar="ARES_OTEL_CONFIG",
        default_factory=lambda: asset("collector/ares.yaml"),
        show_default="the packaged collector/ares.yaml",
        help="Pipeline configuration, in the OpenTelemetry Collector's YAML shape.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ares-otel {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@app.command()
def up(
    context: typer.Context,
    data_dir: DataDir,
    config: Config,
    database_url: DatabaseUrl = None,
    host: Annotated[str, typer.Option(envvar="ARES_OTEL_HOST", help="Address that all doors listen on.")] = "127.0.0.1",
    http_port: Annotated[
        int, typer.Option(envvar="ARES_OTEL_HTTP_PORT", min=0, max=65535, help="REST API; 0 takes any free port.")
    ] = 8080,
    otlp_grpc_port: Annotated[
        int, typer.Option(envvar="ARES_OTEL_OTLP_GRPC_PORT", min=0, max=65535, help="OTLP/gRPC; 0 takes any free port.")
    ] = 4317,
    otlp_http_port: Annotated[
        int, typer.Option(envvar="ARES_OTEL_OTLP_HTTP_PORT", min=0, max=65535, help="OTLP/HTTP; 0 takes any free port.")
    ] = 4318,
    sampling_port: Annotated[
        int,
        typer.Option(
            envvar="ARES_OTEL_SAMPLING_PORT",
            min=0,
            max=65535,
            help="Sampling strategies for Jaeger's clients, HTTP and gRPC; 0 takes any free port. Where the default is"
            " taken, Ares starts without.",
        ),
    ] = 5778,
    jaeger_grpc_port: Annotated[
        int,
        typer.Option(
            envvar="ARES_OTEL_JAEGER_GRPC_PORT",
            min=0,
            max=65535,
            help="Jaeger's gRPC: queries, and a Jaeger that keeps its traces here; 0 takes any free port.",
        ),
    ] = 16685,
    jaeger_http_port: Annotated[
        int | None,
        typer.Option(
            envvar="ARES_OTEL_JAEGER_HTTP_PORT",
            min=0,
            max=65535,
            help="Jaeger's HTTP APIs at the root of a port of their own, as at Jaeger's 16686; 0 takes any free port. "
            "Without it they are below /jaeger of the REST API only.",
            show_default="none",
        ),
    ] = None,
    max_clock_skew_adjustment: Annotated[
        str,
        typer.Option(
            envvar="ARES_OTEL_MAX_CLOCK_SKEW_ADJUSTMENT",
            help="How far Jaeger's views move a span at most whose clock disagrees with its parent's: a Go duration; "
            "0s moves none.",
        ),
    ] = "24h",
    allow_unauthenticated: Annotated[
        bool,
        typer.Option(
            envvar="ARES_OTEL_ALLOW_UNAUTHENTICATED",
            help="Allow --host and receivers to listen on more than loopback, although nobody has to log in.",
        ),
    ] = False,
    allowed_hosts: Annotated[
        str,
        typer.Option(
            envvar="ARES_OTEL_ALLOWED_HOSTS",
            help="Names, separated by commas, that clients may use for this machine in the Host header, "
            "besides its own name, localhost and addresses.",
        ),
    ] = "",
    admission_limit_mib: Annotated[
        int,
        typer.Option(
            envvar="ARES_OTEL_ADMISSION_LIMIT_MIB",
            min=32,
            max=65536,
            help="MiB of requests that may be in memory at once; more are refused with a delay.",
        ),
    ] = 256,
    spool_dir: SpoolDir = None,
    spool_limit_mib: Annotated[
        int,
        typer.Option(
            envvar="ARES_OTEL_SPOOL_LIMIT_MIB",
            min=0,
            max=1048576,
            help="MiB that may wait there; beyond it requests are refused with a delay. 0: no spool, they are refused "
            "whenever the database cannot take them.",
        ),
    ] = 1024,
    shutdown_grace: Annotated[
        float,
        typer.Option(
            envvar="ARES_OTEL_SHUTDOWN_GRACE",
            min=0,
            max=3600,
            help="Seconds that stopping may take: requests in work finish, later ones are told to come back. A second"
            " signal ends the waiting.",
        ),
    ] = 25.0,
    query_max_samples: Annotated[
        int,
        typer.Option(
            envvar="ARES_OTEL_QUERY_MAX_SAMPLES",
            min=1,
            max=50_000_000,
            help="Samples that one remote read of a Prometheus may get; more is refused. Two are answered at a time,"
            " and each sample takes 16 bytes until it was sent.",
        ),
    ] = 5_000_000,
    probe_allow_local: Annotated[
        bool,
        typer.Option(
            "--probe-allow-local",
            envvar="ARES_OTEL_PROBE_ALLOW_LOCAL",
            help="Let health checks of registered services go to loopback, link-local and metadata addresses too.",
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            envvar="ARES_OTEL_WORKERS",
            min=1,
            max=64,
            help="Ingest processes on the same OTLP ports; beyond 1 with a supervisor that does everything else.",
        ),
    ] = 1,
    demo: Annotated[
        bool, typer.Option("--demo", envvar="ARES_OTEL_DEMO", help="Also run a small shop that sends real traffic.")
    ] = False,
) -> None:
    """Start Ares: database, receivers and API, until Ctrl-C. The variable ARES_OTEL_IMPL=python or native forces one of
    the two row encoders; without it the native one is used where it was built."""
    # These import the whole house, which only this command needs.
    from ares_otel.cli.jaeger_http import parse_max_clock_skew
    from ares_otel.cli.options import UpOptions
    from ares_otel.cli.up import run_up
    from ares_otel.pipeline.listen import parse_allowed_hosts

    options = UpOptions(
        data_dir=data_dir,
        config=config,
        database_url=database_url or None,
        host=host,
        http_port=http_port,
        otlp_grpc_port=otlp_grpc_port,
        otlp_http_port=otlp_http_port,
        jaeger_http_port=jaeger_http_port,
        max_clock_skew_ns=parse_max_clock_skew(max_clock_skew_adjustment),
        sampling_port=sampling_port,
        jaeger_grpc_port=jaeger_grpc_port,
        allow_unauthenticated=allow_unauthenticated,
        allowed_hosts=parse_allowed_hosts(allowed_hosts),
        admission_limit_mib=admission_limit_mib,
        spool_dir=spool_dir,
        spool_limit_mib=spool_limit_mib,
        shutdown_grace=shutdown_grace,
        query_max_samples=query_max_samples,
        probe_allow_local=probe_allow_local,
        demo=demo,
        workers=workers,
        given=_given(context),
        variables=frozenset(str(option.envvar) for option in context.command.params if getattr(option, "envvar", None)),
    )
    raise typer.Exit(asyncio.run(run_up(options)))


@app.command(name="demo")
def demo_command(
    otlp_grpc: Annotated[str, typer.Option(help="OTLP/gRPC endpoint to send to.")] = "http://127.0.0.1:4317",
    otlp_http: Annotated[str, typer.Option(help="OTLP/HTTP endpoint to send to.")] = "http://127.0.0.1:4318",
) -> None:
    """Run the demo shop alone, against a running Ares or any other OTLP endpoint."""
    from ares_otel.cli.demo import run_demo

    raise typer.Exit(asyncio.run(run_demo(otlp_grpc, otlp_http)))


@app.command()
def migrate(
    data_dir: DataDir,
    database_url: DatabaseUrl = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which migrations would be applied.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Only list all migrations and when they were applied.")
    ] = False,
) -> None:
    """Bring the tables up to date, and end. `up` does the same when it starts."""
    from ares_otel.cli.migrate import run_migrate

    raise typer.Exit(asyncio.run(run_migrate(data_dir, database_url or None, dry_run=dry_run, status=status)))


@app.command()
def tail(
    service: Annotated[str | None, typer.Option(help="Only this service, by its exact name.")] = None,
    level: Annotated[
        str | None,
        typer.Option(help="Log records of at least this level: DEBUG, INFO, WARN, ERROR.", show_default=False),
    ] = None,
    spans: Annotated[bool, typer.Option("--spans", help="Only spans.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Only log records.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: Annotated[
        str, typer.Option(envvar="ARES_OTEL_URL", help="HTTP API of a running Ares.")
    ] = "http://127.0.0.1:8080",
) -> None:
    """Show spans and log records as they are stored, until Ctrl-C. A failed span is an ERROR, any other INFO."""
    from ares_otel.cli.tail import LEVELS, TailOptions, run_tail

    if level is not None and level.upper() not in LEVELS:
        raise StartError(f"--level must be one of {', '.join(LEVELS)}.")
    both = spans == logs
    options = TailOptions(url, service, level and level.upper(), spans or both, logs or both, json)
    raise typer.Exit(asyncio.run(run_tail(options)))


@app.command()
def doctor(
    data_dir: DataDir,
    database_url: DatabaseUrl = None,
    spool_dir: Annotated[
        Path | None,
        typer.Option(envvar="ARES_OTEL_SPOOL_DIR", show_default="DATA_DIR/spool", help="The spool to look at."),
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="ARES_OTEL_URL", help="HTTP API of a running Ares.")
    ] = "http://127.0.0.1:8080",
    account: Annotated[
        bool,
        typer.Option("--account", help="Check instead that every item is accounted for; docs/doctor.md tells how."),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="With --account: only compare what was received since then: 90m, 12h, 2d, or a time."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Say what is wrong and what to do about it. The exit status is 1 if something is a problem."""
    from ares_otel.cli.doctor import DoctorOptions, run_doctor
    from ares_otel.cli.doctor_account import run_account
    from ares_otel.cli.moments import moment

    if since is not None and not account:
        raise StartError("--since belongs to --account; leave it out, or add --account.")
    start = None if since is None else moment(since, "--since")
    options = DoctorOptions(data_dir, database_url or None, spool_dir, url, json, start)
    raise typer.Exit(asyncio.run((run_account if account else run_doctor)(options)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context, data_dir: DataDir, database_url: DatabaseUrl = None) -> None:
    """Open psql on a running Ares; what psql takes follows, for example: ares-otel psql -c 'SELECT 1'."""
    from ares_otel.cli.psql import run_psql

    run_psql(data_dir, database_url or None, context.args)


@app.command()
def validate(
    config: Config,
    file: Annotated[
        Path | None, typer.Argument(help="The file; the same as --config FILE.", show_default=False)
    ] = None,
) -> None:
    """Check a pipeline configuration without starting anything."""
    from ares_otel.cli.validate import validate as check

    raise typer.Exit(check(file or config))


def _given(context: typer.Context) -> frozenset[str]:
    """Names of the options that were set on the command line or by a variable."""
    return frozenset(
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
    )


def run() -> None:
    """Entry point of the console script: errors that a person can mend are one line, without a traceback."""
    try:
        app()
    except StartError as error:
        console.error(error.message)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
