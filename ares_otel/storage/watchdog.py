"""The watchdog: a tiny shell that stops the embedded server when Ares is gone, however Ares went.

It waits on a pipe whose other end only Ares holds. The kernel closes that end when Ares ends, also by SIGKILL.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ares_otel.storage.embedded_binaries import server_environment
from ares_otel.storage.embedded_processes import WATCHDOG
from ares_otel.storage.embedded_user import ServerUser

# The server's id is read at the end, from its own postmaster.pid, so one watchdog serves every restart of the server;
# a process counts as this server only when it works in this directory (a process id may belong to another one by now).
# Fast shutdown first, immediate after a minute. The first ten seconds cover a server that was just being started.
_SCRIPT = """
trap '' HUP INT TERM
read -r _
seconds=0 found=
while [ "$seconds" -lt 90 ]; do
  if read -r pid <"$1/postmaster.pid" && [ "/proc/$pid/cwd" -ef "$1" ]; then
    found=yes
    if [ "$seconds" -lt 60 ]; then kill -INT "$pid"; else kill -QUIT "$pid"; fi
  elif [ "$found" ] || [ "$seconds" -ge 10 ]; then
    exit 0
  fi
  sleep 1
  seconds=$((seconds + 1))
done
"""


class Watchdog:
    """Stops the server of one data directory when this process ends without `dismiss`.

    It has a session of its own: Ctrl-C in a terminal reaches Ares, not the watchdog. The pipe's end that Ares holds is
    close-on-exec, so no child of Ares keeps it open.
    """

    def __init__(self, pgdata: Path, user: ServerUser) -> None:
        """Starts it. `pgdata` is the server's data directory; `user` may read it and stop the server."""
        watched, self._held = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, WATCHDOG, str(pgdata)],
                stdin=watched,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=server_environment(),
                start_new_session=True,
                **user.popen_options(),
            )
        except BaseException:
            os.close(self._held)
            raise
        finally:
            os.close(watched)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def dismiss(self) -> None:
        """Ends the watchdog and leaves the server alone. Safe twice."""
        if self._process.returncode is not None:
            return
        # First the process, then the pipe: the other way round it would go for the server.
        self._process.kill()
        self._process.wait()
        os.close(self._held)
