"""Ares and the terminal it was started from: windows are closed, readers go away."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
from pathlib import Path

import httpx
import psutil

from tests.support.ares_process import command, environment
from tests.support.eventually import eventually

PORTS = ["--http-port=0", "--otlp-grpc-port=0", "--otlp-http-port=0", "--jaeger-grpc-port=0", "--sampling-port=0"]


def test_postgres_comes_back_although_nobody_reads_standard_error(data_dir: Path) -> None:
    read, write = os.pipe()
    with subprocess.Popen(
        [*command("up"), "--data-dir", str(data_dir), *PORTS],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=write,
        text=True,
        start_new_session=True,
    ) as ares:
        os.close(write)
        assert ares.stdout is not None
        doors = dict(line.split() for line in iter(ares.stdout.readline, "ready\n"))
        os.close(read)
        killed = {child.pid: child for child in psutil.Process(ares.pid).children() if child.name() == "postgres"}
        for child in killed.values():
            child.kill()

        async def back() -> bool:
            names = [child.name() for child in psutil.Process(ares.pid).children() if child.pid not in killed]
            async with httpx.AsyncClient(trust_env=False) as client:
                ready = await client.get(f"{doors['http']}/readyz")
            return "postgres" in names and ready.status_code == 200

        asyncio.run(eventually(back))
        ares.send_signal(signal.SIGTERM)
        assert ares.wait(45) == 0


def test_a_closed_window_stops_ares(database_url: str, tmp_path: Path) -> None:
    window, terminal = pty.openpty()
    with subprocess.Popen(
        [*command("up"), "--data-dir", str(tmp_path), "--database-url", database_url, *PORTS],
        env=environment(),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        start_new_session=True,
    ) as ares:
        os.close(terminal)
        assert ares.stdout is not None
        while ares.stdout.readline() != "ready\n":
            pass
        os.close(window)
        ares.send_signal(signal.SIGHUP)  # as the kernel sends it to the foreground
        assert ares.wait(45) == 0


def test_standard_output_that_cannot_be_written_is_said_and_does_not_stop_ares(
    database_url: str, tmp_path: Path
) -> None:
    with (
        Path("/dev/full").open("w") as full,
        (tmp_path / "stderr").open("w+") as stderr,
        subprocess.Popen(
            [*command("up"), "--data-dir", str(tmp_path), "--database-url", database_url, *PORTS],
            env=environment(),
            stdout=full,
            stderr=stderr,
            start_new_session=True,
        ) as ares,
    ):
        said = ""
        while "is ready." not in said and ares.poll() is None:
            said = (tmp_path / "stderr").read_text()
        ares.send_signal(signal.SIGTERM)
        assert ares.wait(45) == 0
        said = (tmp_path / "stderr").read_text()
        assert "it would have said: http" in said
        assert "Traceback" not in said
