"""The terminal that Ares was started from, if any."""

from __future__ import annotations

import os


class Terminal:
    """Remembers whether standard input or error was a terminal at the start. SIGHUP has two meanings: from a closed
    terminal it says that the user is gone, from `kill -HUP` that the configuration shall be read again."""

    def __init__(self) -> None:
        self._descriptors = [descriptor for descriptor in (0, 2) if os.isatty(descriptor)]

    @property
    def gone(self) -> bool:
        """Whether there was a terminal and it has been closed since: it does not answer as one any more."""
        return bool(self._descriptors) and not any(os.isatty(descriptor) for descriptor in self._descriptors)
