"""A PostgreSQL 15 server from Debian's package, and PgBouncer in front of a server: external databases for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port

BINARIES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "s3cret-Pa55"

needs_debian_postgres = pytest.mark.skipif(
    not (BINARIES / "initdb").exists(),
    reason="PostgreSQL 15 is not installed here (apt-get install postgresql-15); another version stands in for it",
)
needs_pgbouncer = pytest.mark.skipif(
    shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin") is None,
    reason="PgBouncer is not installed here (apt-get install pgbouncer)",
)


@dataclass(frozen=True, slots=True)
class DebianServer:
    """A running server. Over its socket it trusts everybody, over TCP it wants a password (scram-sha-256)."""

    directory: Path
    port: int
    identity: dict[str, Any]
    """Options of Popen for processes that belong to the server's user."""

    @property
    def url(self) -> str:
        """The database `ares`, owned by the role `ares`, over the socket."""
        return self.socket_url("ares", "ares")

    def socket_url(self, role: str, database: str) -> str:
        """Any role (`postgres` is the superuser) and database over the socket, without a password."""
        return f"postgresql://{role}@/{database}?host={self.directory}&port={self.port}"

    def tcp_url(self, *, role: str = "ares", password: str = PASSWORD, database: str = "ares") -> str:
        """A role and database over TCP on loopback."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"


@contextmanager
def debian_postgres(settings: Sequence[str] = ()) -> Iterator[str]:
    """Starts a PostgreSQL 15 server and gives the URL of its empty database `ares`, owned by the role `ares`."""
    with debian_server(settings) as server:
        yield server.url


@contextmanager
def debian_server(settings: Sequence[str] = ()) -> Iterator[DebianServer]:
    """Starts a PostgreSQL 15 server (`settings`: `name=value`, each) and stops it afterwards, files and all."""
    directory = Path(tempfile.mkdtemp(prefix="ares-pg15-", dir="/tmp"))
    identity = _identity(directory)
    port = free_port()
    data = directory / "data"

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **identity,
        )
        assert done.returncode == 0, done.stderr

    run(
        BINARIES / "initdb", "-D", data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256",
        "-E", "UTF8", "--locale=C", "-N",
    )  # fmt: skip
    options = [f"unix_socket_directories={directory}", "listen_addresses=127.0.0.1", f"port={port}"]
    options += ["shared_buffers=32MB", "max_connections=100", *settings]
    server = DebianServer(directory, port, identity)
    try:
        run(
            BINARIES / "pg_ctl", "-D", data, "-w", "-l", directory / "log",
            "-o", " ".join(f"-c {option}" for option in options), "start",
        )  # fmt: skip
        psql(server, f"CREATE ROLE ares LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE ares OWNER ares")
        yield server
    finally:
        if (data / "postmaster.pid").exists():
            run(BINARIES / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(directory, ignore_errors=True)


def psql(server: DebianServer, *statements: str, database: str = "postgres") -> None:
    """Runs statements as the superuser, each on its own."""
    for statement in statements:
        command = [str(BINARIES / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement]
        subprocess.run([*command, "-d", server.socket_url("postgres", database)], check=True)


@contextmanager
def pgbouncer(server: DebianServer, pool_mode: str = "transaction") -> Iterator[str]:
    """PgBouncer in front of the server; gives the URL of the database `ares` through it."""
    directory = Path(tempfile.mkdtemp(prefix="ares-bouncer-", dir="/tmp"))
    identity = _identity(directory)
    port = free_port()
    (directory / "users.txt").write_text(f'"ares" "{PASSWORD}"\n')
    (directory / "pgbouncer.ini").write_text(
        f"""
[databases]
ares = host={server.directory} port={server.port} dbname=ares
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {directory}/users.txt
pool_mode = {pool_mode}
ignore_startup_parameters = extra_float_digits
"""
    )
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    assert program is not None
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, directory / "pgbouncer.ini"], cwd="/", stdout=log, stderr=log, **identity)
    try:
        _wait_for_port(port, process, directory / "log")
        yield f"postgresql://ares:{PASSWORD}@127.0.0.1:{port}/ares"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _identity(directory: Path) -> dict[str, Any]:
    """As root, hands the directory to a user that may run PostgreSQL; gives the Popen options that become that user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(directory, user.pw_uid, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("no user to run PostgreSQL")


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError(log.read_text())
