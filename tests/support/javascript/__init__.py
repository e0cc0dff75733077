"""The official JavaScript SDK as a client: another language, another encoder.

Its packages are installed once, at the pinned versions, into a cache outside the repository:
`$ARES_OTEL_TEST_CACHE`, else `~/.cache/ares-otel-tests`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_HERE = Path(__file__).parent
_PINS = ("package.json", "package-lock.json")
_INSTALL_SECONDS = 120
_SEND_SECONDS = 60


class UnavailableError(RuntimeError):
    """The JavaScript client cannot run here. The message is a reason to skip."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Ids in hex of what the client sent: one trace of two spans, with a log record in each."""

    trace_id: str
    parent: str
    child: str


def install(source: Path = _HERE, programs: Sequence[str] = ("client.mjs",)) -> Path:
    """The folder with programs and their packages, installed when they are not there yet.

    Args:
        source: where the programs lie, with `package.json` and `package-lock.json`.
        programs: names of files.
    Raises:
        UnavailableError: Node or npm is missing, or the packages cannot be had.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise UnavailableError("the JavaScript SDK needs node and npm on the PATH")
    digest = hashlib.sha256(b"".join((source / name).read_bytes() for name in _PINS)).hexdigest()[:16]
    cache = Path(os.environ.get("ARES_OTEL_TEST_CACHE") or Path.home() / ".cache" / "ares-otel-tests")
    folder = cache / f"javascript-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one run take turns
        if not (folder / "installed").exists():
            for name in _PINS:
                shutil.copy(source / name, folder)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            try:
                subprocess.run(
                    command, cwd=folder, check=True, timeout=_INSTALL_SECONDS, capture_output=True, text=True
                )
            except subprocess.CalledProcessError as error:
                raise UnavailableError(f"npm could not install the JavaScript SDK: {error.stderr[-500:]}") from error
            except subprocess.TimeoutExpired as error:
                raise UnavailableError(f"npm was not done within {_INSTALL_SECONDS} s") from error
            (folder / "installed").touch()
        # Modules find their packages beside themselves, so the programs have to lie there too.
        for name in programs:
            shutil.copy(source / name, folder / f"{name}.new")
            (folder / f"{name}.new").replace(folder / name)
    return folder


def send(folder: Path, *, otlp_http: str, encoding: Literal["proto", "json"], service: str) -> Sent:
    """Send spans, logs and metrics to the base URL `otlp_http`; returns when all of it was answered."""
    done = subprocess.run(
        ["node", str(folder / "client.mjs"), otlp_http, encoding, service],
        capture_output=True,
        text=True,
        timeout=_SEND_SECONDS,
        env={key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
    )
    assert done.returncode == 0, f"the JavaScript client failed:\n{done.stderr}"
    assert done.stderr == "", f"the JavaScript client complained:\n{done.stderr}"
    return Sent(**json.loads(done.stdout))
