"""Makes the reference pages that are generated from the code: `python -m tests.support.reference` writes them, a test
checks that they are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ares_otel.cli.main import app
from ares_otel.pipeline.telemetry import INSTRUMENTS

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = {
    "`ARES_OTEL_IMPL`": "`python` or `native`: the row encoder that whatever stores rows takes; a process that does "
    "not have it does not start. Not set: the native one where it was built "
    "([architecture](architecture.md#the-two-row-encoders)).",
    "`ARES_OTEL_BUILD_NATIVE`": "Read by `pip install`: `1` makes it an error when the native row encoder cannot be "
    "built, `0` does not build it.",
    "`ARES_OTEL_CONFIG_KEY`, `ARES_OTEL_CONFIG_KEY_FILE`, `ARES_OTEL_CONFIG_OLD_KEYS`": "The keys of encrypted "
    "settings ([encryption](encryption.md)).",
}
"""Variables that are no options of a command, and what they do."""


def metrics_page() -> str:
    """`docs/metrics.md`, from the table in `ares_otel/pipeline/telemetry.py`."""
    lines = [
        "# Ares's own metrics",
        "",
        "`GET /metrics` answers in the Prometheus text format. Names are the Collector's where it has one. Counters",
        "end in `_total` there. Labels never hold a value that a sender chooses. This page is generated from",
        "`ares_otel/pipeline/telemetry.py` by `make docs`.",
        "",
        "| name | type | labels | what |",
        "| --- | --- | --- | --- |",
    ]
    for instrument in sorted(INSTRUMENTS.values(), key=lambda instrument: instrument.name):
        kind = instrument.kind.__name__.lower()
        name = instrument.name + ("_total" if kind == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in instrument.labels)
        lines.append(f"| `{name}` | {kind} | {labels} | {instrument.help} |")
    largest = ", ".join(
        f"`{instrument.name}`" for instrument in INSTRUMENTS.values() if instrument.over_workers == "largest"
    )
    lines += [
        "",
        "With `--workers` ([workers](workers.md)) a figure is the sum over all processes of this Ares. Of these only",
        f"the largest is shown: {largest}.",
        "",
        "## Every item is accounted for",
        "",
        "`ares_otel_account_items_total` counts every item that a receiver could count, by signal, receiver and",
        "transport, once as `received` and once as what became of it:",
        "",
        "    received = stored + deduplicated + rejected + refused + dropped + spooled",
        "",
        "`stored` is committed, `deduplicated` was committed before (a retry), `rejected` was told to the sender as",
        "invalid, `refused` stays with the sender, who tries again, `dropped` is not wanted by the configuration",
        "(filter, sampler), and `spooled` is safe on disk and waits for the database. What comes out of the spool is",
        "counted apart, by signal, in `ares_otel_spool_items_total` and `ares_otel_spool_waiting_items`. There `found`",
        "was in the spool when the process started, and `spooled` is what went in since, also when its sender left",
        "before the answer or when two pipelines made two requests of one:",
        "",
        "    spooled + found = stored + deduplicated + rejected + lost + waiting",
        "",
        "`rejected` is in `ingest_rejected` ([rejected items](rejected.md)), `lost` was in a segment that cannot be",
        "read and was set aside. While requests are under way `received` runs ahead. The command",
        "`ares-otel doctor --account` reads these counters, compares the receipts with the rows of the tables as well,",
        "and says by how much something is off ([doctor](doctor.md)).",
        "",
        "In the Collector's names, by signal: what came to the receivers = sent by the `postgres` exporter",
        "(`otelcol_exporter_sent_*`: committed) + `ares_otel_receiver_rejected_*` (invalid, the sender was told)",
        "+ `otelcol_receiver_refused_*` (the sender keeps it and tries again) + `ares_otel_processor_dropped_*` (by",
        "configuration). `otelcol_receiver_accepted_*` = sent + dropped.",
        "",
    ]
    return "\n".join(lines)


def command_line_page() -> str:
    """`docs/command-line.md`, from the command itself."""
    lines = [
        "# Command line",
        "",
        "Generated from the command by `make docs`. An option can also be set by the variable beside it; the option",
        "wins. `ares-otel COMMAND --help` shows the same.",
        "",
    ]
    for name, command in _walk(typer.main.get_command(app), "ares-otel"):
        lines += [f"## `{name}`", "", (command.help or "").strip(), ""]
        options = [option for option in command.params if not option.hidden and option.name not in ("help", "version")]
        if options:
            lines += ["| option | variable | default | what |", "| --- | --- | --- | --- |"]
            lines += [_row(option) for option in options]
            lines.append("")
    lines += [
        "## Variables that are no options",
        "",
        "| variable | what |",
        "| --- | --- |",
        *(f"| {names} | {what} |" for names, what in VARIABLES.items()),
        "",
        "## What `ares-otel up` prints",
        "",
        "One line for each door on standard output, `NAME URL`, with NAME one of `http`, `otlp-grpc`, `otlp-http`,",
        "`jaeger-grpc`, `jaeger-http`, `zipkin`, `sampling`, `database` (a URL that psql takes), and `ready` last;",
        "everything else goes to standard error. SIGINT and",
        "SIGTERM stop it: what was accepted is stored first, the exit status is 0. SIGHUP reads the configuration file",
        "again; a mistake in it leaves the old one running. With `--workers` signals are the supervisor's, and all",
        "workers do what it does ([workers](workers.md)).",
        "When it cannot start it says why in one line (a wrong configuration file: one line for each problem) and",
        "exits with 1; a wrong option exits with 2.",
        "",
    ]
    return "\n".join(lines)


def _walk(group: Any, prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        found += _walk(command, full) if hasattr(command, "commands") else [(full, command)]
    return found


def _row(option: Any) -> str:
    shown = option.show_default  # a text stands for a default that is worked out at run time
    default = shown if isinstance(shown, str) else f"`{option.default}`"
    if not isinstance(shown, str):
        if getattr(option, "is_flag", False):
            default = "off"
        elif option.default in (None, ""):
            default = ""
    variable = f"`{option.envvar}`" if option.envvar else ""
    name = "/".join([option.opts[0], *option.secondary_opts[:1]])
    if not name.startswith("-"):
        name = name.upper()
    return f"| `{name}` | {variable} | {default} | {option.help or ''} |"


PAGES = {"docs/metrics.md": metrics_page, "docs/command-line.md": command_line_page}


if __name__ == "__main__":
    for name, make in PAGES.items():
        (ROOT / name).write_text(make(), encoding="utf-8")
