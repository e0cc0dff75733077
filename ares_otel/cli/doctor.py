"""`ares-otel doctor`: what is wrong and what to do about it, for the person who was just woken up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import asyncpg
import typer

from ares_otel.cli.shown import json_shown, printable
from ares_otel.model.errors import StartError
from ares_otel.storage.database import ServerFacts, asyncpg_kwargs, check_database
from ares_otel.storage.embedded_client import running_url

_WIDTH = 1000


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """Nothing is broken yet, or something was."""
    PROBLEM = "problem"
    """Somebody has to do something."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the page."""

    state: State
    name: str
    sentence: str
    """What is so, and what to do about it."""


def ok(name: str, sentence: str) -> Finding:
    """A check that ended well."""
    return Finding(State.OK, name, sentence)


def warning(name: str, sentence: str) -> Finding:
    """A check that found something to look at."""
    return Finding(State.WARNING, name, sentence)


def problem(name: str, sentence: str) -> Finding:
    """A check that found something to mend now."""
    return Finding(State.PROBLEM, name, sentence)


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """Whom to look at."""

    data_dir: Path
    database_url: str | None
    spool_dir: Path | None
    url: str
    """Of the HTTP API."""
    json: bool = False
    since: datetime | None = None
    """`--account` only: no rows that were received before."""

    @property
    def spool_directory(self) -> Path:
        return self.spool_dir or self.data_dir / "spool"


async def run_doctor(options: DoctorOptions) -> int:
    """Looks at everything. Returns the exit status: 0 when nothing is a problem."""
    from ares_otel.cli.doctor_database import check_tables
    from ares_otel.cli.doctor_disk import check_disk, check_spools
    from ares_otel.cli.doctor_encoder import check_encoder
    from ares_otel.cli.doctor_process import check_process

    findings: list[Finding] = []
    try:
        url, facts = await find_database(options)
    except StartError as error:
        findings.append(problem("database", error.message))
    else:
        findings += check_server(facts)
        connection = await open_database(url, facts)
        try:
            findings += await check_tables(connection)
        finally:
            connection.terminate()
    findings += check_spools(options.spool_directory)
    findings += check_disk(options.data_dir, options.spool_directory)
    findings.append(check_encoder())
    findings += await check_process(options.url)
    say(findings, as_json=options.json)
    return int(any(finding.state is State.PROBLEM for finding in findings))


async def find_database(options: DoctorOptions) -> tuple[str, ServerFacts]:
    """The database and what is known about it. Raises StartError when it cannot be reached."""
    url = options.database_url or running_url(options.data_dir)
    return url, await check_database(url, need_create=False)


async def open_database(url: str, facts: ServerFacts) -> asyncpg.Connection:
    """A connection without a time limit for its statements: counting may take a while."""
    return await asyncpg.connect(url, timeout=10, **asyncpg_kwargs(facts))


def check_server(facts: ServerFacts) -> list[Finding]:
    """Version and durability of the server that answered."""
    kind = "the embedded one" if facts.is_embedded else "an external one"
    findings = [ok("database", f"PostgreSQL {facts.version} answers, {kind}.")]
    doubts = facts.warnings[:-1] if facts.pooled else facts.warnings
    findings += [problem("durability", sentence) for sentence in doubts]
    if not doubts:
        findings.append(ok("durability", "A commit is on disk before it is answered."))
    if facts.pooled:
        findings.append(warning("pooler", facts.warnings[-1]))
    return findings


def say(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Writes the page to standard output."""
    if as_json:
        typer.echo(json_shown([{"name": f.name, "state": f.state, "sentence": f.sentence} for f in findings]))
        return
    for line in lines(findings):
        typer.echo(line)


def lines(findings: Iterable[Finding]) -> list[str]:
    """`state NAME: sentence`, one line each."""
    return [f"{finding.state:7} {finding.name}: {printable(finding.sentence, _WIDTH)}" for finding in findings]
