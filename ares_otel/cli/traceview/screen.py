"""Standard output as lines with styles, which are left out where nobody sees them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from ares_otel.cli.traceview.text import Script


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - called while the error is handled; the command ends as for any reader that has seen enough


class Screen:
    """Where a picture goes."""

    def __init__(self, *, colour: bool) -> None:
        """`colour`: False never has any; otherwise a terminal has it, unless NO_COLOR or TERM=dumb say otherwise."""
        never = not colour or bool(os.environ.get("NO_COLOR"))
        self._console = _Screen(
            color_system=None if never else "auto", markup=False, emoji=False, highlight=False, soft_wrap=True
        )
        self.width = self._console.width
        self.script = Script(sys.stdout.encoding or "ascii")

    def show(self, lines: Iterable[Text]) -> None:
        """Writes the lines. Raises BrokenPipeError when the reader has gone."""
        for line in lines:
            line.rstrip()
            self._console.print(line)
        sys.stdout.flush()
