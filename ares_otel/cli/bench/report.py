"""What a benchmark found: printed for people, and on request written as JSON or into the table of the README."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import asyncpg
import typer

from ares_otel.model.errors import StartError

README = Path("benchmarks/README.md")
BEGIN, END = "<!-- written by ares-otel bench: begin -->", "<!-- written by ares-otel bench: end -->"
_HEAD = ("| command | what | figure | goal | machine |", "| --- | --- | --- | --- | --- |")
_UNSHOWN = ("--write", "--json", "--readme")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    """As it is printed, with its unit."""
    ratio: float | None = None
    """The figure itself where it is a ratio measured within the run: that is what can be compared."""
    goal: str = ""
    """What it is meant to reach."""


@dataclass(slots=True)
class Report:
    """The lines of one run."""

    command: str = field(default_factory=lambda: _command())
    machine: str = field(default_factory=lambda: f"{os.cpu_count()} cores, Python {platform.python_version()}")
    rows: list[Row] = field(default_factory=list)

    async def name_server(self, url: str) -> None:
        """Notes which PostgreSQL is measured."""
        if "PostgreSQL" not in self.machine:
            connection = await asyncpg.connect(url)
            version = str(await connection.fetchval("SHOW server_version")).split(" ")[0]
            await connection.close()
            self.machine += f", PostgreSQL {version}"

    def add(self, row: Row) -> None:
        """Takes a line, and prints it at once: a long run shows what it has."""
        self.rows.append(row)
        typer.echo(f"{row.figure:>16}  {row.what}" + (f"  (goal: {row.goal})" if row.goal else ""))

    def ratio(self, what: str, value: float, *, digits: int = 2, goal: str = "") -> None:
        """A line whose figure is a ratio."""
        self.add(Row(what, f"ratio {value:.{digits}f}", round(value, 6), goal))

    def finish(self, json_file: Path | None, write: bool, readme: Path = README) -> None:
        """Writes what was asked for.

        Raises:
            StartError: the file cannot be written, or the README has no place for the table.
        """
        if json_file is not None:
            content = {"command": self.command, "machine": self.machine, "rows": [asdict(row) for row in self.rows]}
            text = json.dumps(content, indent=2, ensure_ascii=False)
            if str(json_file) == "-":
                typer.echo(text)
            else:
                try:
                    json_file.write_text(text + "\n", encoding="utf-8")
                except OSError as error:
                    raise StartError(f"--json {json_file} cannot be written: {error}") from error
        if write:
            self._write(readme)

    def _write(self, readme: Path) -> None:
        try:
            text = readme.read_text(encoding="utf-8")
        except OSError as error:
            raise StartError(f"--write needs {readme}; call it at the top of the repository ({error}).") from error
        if BEGIN not in text or END not in text:
            raise StartError(f"{readme} has no lines '{BEGIN}' and '{END}', between which --write puts its rows.")
        before, rest = text.split(BEGIN, 1)
        old, after = rest.split(END, 1)
        kept = [line for line in old.splitlines() if line.startswith("| `") and not self._is_mine(line)]
        lines = [*_HEAD, *kept, *self._lines()]
        readme.write_text(before + "\n".join([BEGIN, *lines, END]) + after, encoding="utf-8")

    def _is_mine(self, line: str) -> bool:
        return line.startswith(f"| `{self.command}` |")

    def _lines(self) -> Iterable[str]:
        for row in self.rows:
            figure = row.figure if row.ratio is None else f"**{row.figure.removeprefix('ratio ')}**"
            cells = [f"`{self.command}`", row.what, figure, row.goal, self.machine]
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _command() -> str:
    """The command line as a person would type it again, without where its figures go."""
    words = ["ares-otel"]
    skip = False
    for word in sys.argv[1:]:
        if skip:
            skip = False
        elif word in _UNSHOWN:
            skip = word != "--write"
        elif not word.startswith(tuple(f"{option}=" for option in _UNSHOWN)):
            words.append(word)
    return shlex.join(words)
