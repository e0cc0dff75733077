"""`ares-otel doctor --account`: is every item accounted for, in the process and in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import typer

from ares_otel.cli.config_text import table
from ares_otel.cli.doctor import DoctorOptions, find_database, open_database
from ares_otel.cli.doctor_process import TIMEOUT, fetch_metrics
from ares_otel.cli.shown import json_shown, printable
from ares_otel.model.errors import StartError
from ares_otel.query.account import OUTCOMES, SPOOL_OUTCOMES, Account, imbalances, read_account
from ares_otel.query.ledger import Entry, ledger_imbalances, read_ledger
from ares_otel.storage.sqlstate import DATABASE_ERRORS

READS = 50
PAUSE = 0.1
"""Seconds between two looks at the counters. While requests are under way, `received` runs ahead of the outcomes."""


@dataclass(slots=True)
class Report:
    """What was found out."""

    account: Account | None = None
    entries: Sequence[Entry] | None = None
    imbalances: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Why something could not be found out."""

    @property
    def balanced(self) -> bool:
        return not self.imbalances and not self.trouble


async def run_account(options: DoctorOptions) -> int:
    """Writes the tables. Returns the exit status: 0 when everything is balanced."""
    report = Report()
    try:
        report.account, found = await settled_account(options.url)
        report.imbalances += found
    except StartError as error:
        report.trouble.append(error.message)
    try:
        url, facts = await find_database(options)
        connection = await open_database(url, facts)
        try:
            report.entries = await read_ledger(connection, since=options.since)
        finally:
            connection.terminate()
        report.imbalances += ledger_imbalances(report.entries)
    except StartError as error:
        report.trouble.append(error.message)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        report.trouble.append("The database lacks tables or columns of this version; run `ares-otel migrate`.")
    except DATABASE_ERRORS as error:
        report.trouble.append(f"The database did not answer ({type(error).__name__}: {error}); try again.")
    if options.json:
        typer.echo(json_shown(document(report)))
    else:
        for line in lines(report):
            typer.echo(line)
    return int(not report.balanced)


async def settled_account(url: str, *, reads: int = READS, pause: float = PAUSE) -> tuple[Account, list[str]]:
    """The account of a running process, read again until nothing is under way, but at most `reads` times; with the
    sentences about what was off each time. Under load some request is always under way, but not always of the same
    receiver, and not the same number: each equation has to hold once.

    Raises:
        StartError: no Ares answers there.
    """
    wrong: dict[str, str] = {}
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:
        for read in range(reads):
            if read:
                await asyncio.sleep(pause)
            try:
                account = read_account(await fetch_metrics(client, url))
            except ValueError as error:
                raise StartError(f"{error}; is it an Ares of this version that answers at {url}?") from error
            found = {sentence.partition(": ")[0]: sentence for sentence in imbalances(account)}
            wrong = {subject: sentence for subject, sentence in found.items() if not read or subject in wrong}
            if not wrong:
                break
    return account, list(wrong.values())


def lines(report: Report) -> list[str]:
    """The report for a person."""
    out: list[str] = []
    if report.account is not None:
        out += ["The process, since its start (received = what follows):", "", *_doors(report.account), ""]
        if spool := _spool(report.account):
            out += ["Its spool (spooled + found = what follows):", "", *spool, ""]
    if report.entries is not None:
        out += ["The database (what receipts say is stored = rows):", "", *_ledger(report.entries), ""]
    out += [f"not balanced: {printable(sentence)}" for sentence in report.imbalances]
    out += [f"unknown: {printable(sentence)}" for sentence in report.trouble]
    if report.balanced:
        out.append("balanced: every item is accounted for.")
    return out


def document(report: Report) -> dict[str, Any]:
    """The report for a program."""
    account, entries = report.account, report.entries
    return {
        "balanced": report.balanced,
        "imbalances": report.imbalances,
        "trouble": report.trouble,
        "receivers": None
        if account is None
        else [{**door._asdict(), **counts, "open": account.open_items(door)} for door, counts in account.doors.items()],
        "spool": None
        if account is None
        else {
            signal: {
                "spooled": account.spooled(signal),
                **account.spool.get(signal, {}),
                "waiting": account.waiting.get(signal, 0),
                "open": account.open_spool_items(signal),
            }
            for signal in account.signals
        },
        "database": None
        if entries is None
        else [
            {
                "signal": entry.signal,
                "since": entry.since.isoformat(),
                "requests": entry.requests,
                "accepted": entry.accepted,
                "stored": entry.stored,
                "by_sql": entry.by_sql,
                "difference": entry.difference,
            }
            for entry in entries
        ],
    }


def _doors(account: Account) -> list[str]:
    if not account.doors:
        return ["Nothing was received."]
    rows = [("SIGNAL", "RECEIVER", "TRANSPORT", "RECEIVED", *(one.upper() for one in OUTCOMES), "OPEN")]
    for door, counts in sorted(account.doors.items()):
        numbers = [counts.get(name, 0) for name in ("received", *OUTCOMES)] + [account.open_items(door)]
        rows.append((*(printable(text, 60) for text in door), *map(str, numbers)))
    return table(rows).splitlines()


def _spool(account: Account) -> list[str]:
    signals = [
        one for one in account.signals if account.spooled(one) or account.spool.get(one) or account.waiting.get(one)
    ]
    if not signals:
        return []
    rows = [("SIGNAL", "SPOOLED", "FOUND", *(one.upper() for one in SPOOL_OUTCOMES), "WAITING", "OPEN")]
    for signal in signals:
        counts = account.spool.get(signal, {})
        numbers = [account.spooled(signal), *(counts.get(name, 0) for name in ("found", *SPOOL_OUTCOMES))]
        numbers += [account.waiting.get(signal, 0), account.open_spool_items(signal)]
        rows.append((printable(signal, 60), *map(str, numbers)))
    return table(rows).splitlines()


def _ledger(entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return ["There are no receipts yet, so there is nothing to compare."]
    rows: list[tuple[str, ...]] = [
        ("SIGNAL", "RECEIVED SINCE", "REQUESTS", "RECEIPTS SAY", "ROWS", "DIFFERENCE", "MADE BY SQL")
    ]
    for entry in entries:
        since = f"{entry.since:%Y-%m-%d %H:%M:%S} UTC"
        numbers = (entry.requests, entry.accepted, entry.stored, entry.difference, entry.by_sql)
        rows.append((entry.signal, since, *map(str, numbers)))
    return table(rows).splitlines()
