"""An external database is checked once at start: one clear line for each way in which it cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from urllib.parse import quote

import asyncpg
import pytest

from ares_otel.model.errors import StartError
from ares_otel.storage.database import asyncpg_kwargs, check_database
from tests.support.debian_postgres import (
    PASSWORD,
    DebianServer,
    debian_server,
    needs_debian_postgres,
    needs_pgbouncer,
    pgbouncer,
    psql,
)
from tests.support.ports import free_port
from tests.support.stream_server import stream_server


@pytest.fixture(scope="module")
def server() -> Iterator[DebianServer]:
    with debian_server() as running:
        yield running


async def refusal(url: str, *, need_create: bool = True) -> str:
    """The one line with which the check refuses a URL; it never holds the password."""
    with pytest.raises(StartError) as caught:
        await check_database(url, need_create=need_create)
    message = caught.value.message
    assert "\n" not in message
    assert PASSWORD not in message
    assert "wrong-Pa55" not in message
    assert caught.value.__cause__ is None  # a traceback of the cause would show the URL's parts
    return message


async def test_the_server_of_the_tests_is_taken_with_its_version_and_loud_warnings(database_url: str) -> None:
    facts = await check_database(database_url)
    assert facts.version_num >= 150_000
    assert not facts.pooled
    assert asyncpg_kwargs(facts) == {}
    said = " ".join(facts.warnings)
    assert "fsync=off" in said
    assert "full_page_writes=off" in said
    assert "synchronous_commit=off" in said


@needs_debian_postgres
async def test_postgresql_15_is_taken_without_warnings_over_socket_and_tcp(server: DebianServer) -> None:
    for url in (server.url, server.tcp_url()):
        facts = await check_database(url)
        assert facts.version.startswith("15.")
        assert facts.version_num // 10_000 == 15
        assert facts.warnings == ()
        assert not facts.is_embedded


@needs_debian_postgres
async def test_a_wrong_password_is_one_line_that_names_the_option(server: DebianServer) -> None:
    message = await refusal(server.tcp_url(password="wrong-Pa55"))
    assert "--database-url (ARES_OTEL_DATABASE_URL)" in message
    assert 'password authentication failed for user "ares"' in message
    assert f"127.0.0.1:{server.port}/ares" in message


@needs_debian_postgres
async def test_an_unknown_role_is_one_line(server: DebianServer) -> None:
    assert 'role "stranger" does not exist' in await refusal(server.socket_url("stranger", "ares"))


@needs_debian_postgres
async def test_a_missing_database_is_one_line(server: DebianServer) -> None:
    assert "has no such database; create it" in await refusal(server.tcp_url(database="nowhere"))


@needs_debian_postgres
async def test_a_role_without_the_right_to_create_tables_is_told_what_to_grant(server: DebianServer) -> None:
    psql(server, f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    url = server.tcp_url(role="reader")
    message = await refusal(url)
    assert "GRANT CREATE ON SCHEMA public TO reader" in message
    facts = await check_database(url, need_create=False)
    assert facts.version_num // 10_000 == 15


@needs_debian_postgres
async def test_a_database_without_a_usable_schema_is_one_line(server: DebianServer) -> None:
    psql(server, "CREATE ROLE lost LOGIN", "ALTER ROLE lost SET search_path = 'nowhere'")
    assert "search_path nowhere" in await refusal(server.socket_url("lost", "ares"))


@needs_debian_postgres
async def test_a_database_without_connect_rights_is_one_line(server: DebianServer) -> None:
    psql(server, "CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    assert "permission denied for database" in await refusal(server.socket_url("ares", "closed"))


@needs_debian_postgres
async def test_a_database_that_is_not_utf8_is_refused(server: DebianServer) -> None:
    psql(server, "CREATE DATABASE latin OWNER ares ENCODING 'LATIN1' TEMPLATE template0")
    message = await refusal(server.socket_url("ares", "latin"))
    assert "LATIN1" in message
    assert "ENCODING 'UTF8'" in message


@needs_debian_postgres
async def test_a_read_only_database_is_refused(server: DebianServer) -> None:
    psql(server, "CREATE ROLE looker LOGIN", "ALTER ROLE looker SET default_transaction_read_only = on")
    assert "read-only" in await refusal(server.socket_url("looker", "ares"))


@needs_debian_postgres
async def test_settings_of_the_role_that_break_the_promise_are_warned_about(server: DebianServer) -> None:
    psql(server, "CREATE ROLE hasty LOGIN", "ALTER ROLE hasty SET synchronous_commit = off")
    facts = await check_database(server.socket_url("hasty", "ares"), need_create=False)
    assert len(facts.warnings) == 1
    assert "synchronous_commit=off" in facts.warnings[0]


@needs_debian_postgres
async def test_a_full_server_is_one_line(server: DebianServer) -> None:
    psql(server, "CREATE ROLE narrow LOGIN CONNECTION LIMIT 1")
    url = server.socket_url("narrow", "ares")
    taken = await asyncpg.connect(url)
    try:
        assert "no connection free" in await refusal(url)
    finally:
        await taken.close()


async def test_a_refused_connection_is_one_line() -> None:
    port = free_port()
    for host in ("127.0.0.1", "localhost"):
        message = await refusal(f"postgresql://ares:{PASSWORD}@{host}:{port}/ares")
        assert f"Nothing listens at {host}:{port}/ares" in message


async def test_a_missing_socket_is_one_line() -> None:
    assert "There is no socket at /nowhere/at-all/ares" in await refusal("postgresql://ares@/ares?host=/nowhere/at-all")


async def test_a_file_of_certificates_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://ares:{PASSWORD}@127.0.0.1/ares?sslmode=verify-full"
    message = await refusal(f"{url}&sslrootcert=/nope/ca.pem")
    assert "The file /nope/ca.pem (sslrootcert) does not exist" in message
    assert "--database-url" in message
    monkeypatch.setenv("PGSSLROOTCERT", "/nope/other.pem")
    assert "The file /nope/other.pem (sslrootcert) does not exist; check sslrootcert in the variable" in await refusal(
        url
    )


@pytest.mark.parametrize(
    "end", ["127.0.0.1:99999/ares", "127.0.0.1,[::1]:99999/ares", "/ares?host=127.0.0.1&port=99999"]
)
async def test_a_port_that_there_cannot_be_is_one_line(end: str) -> None:
    message = await refusal(f"postgresql://ares:{PASSWORD}@{end}")
    assert "The port in --database-url" in message


async def test_a_host_that_no_name_server_knows_is_one_line() -> None:
    message = await refusal(f"postgresql://ares:{PASSWORD}@no-such-host.invalid/ares")
    assert "no-such-host.invalid" in message
    assert "check the host" in message


async def test_something_that_is_no_postgresql_server_is_one_line() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with stream_server(hang_up) as port:
        assert f"127.0.0.1:{port}" in await refusal(f"postgresql://ares:{PASSWORD}@127.0.0.1:{port}/ares")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        f"mysql://ares:{PASSWORD}@localhost/ares",
        f"postgresql+asyncpg://ares:{PASSWORD}@localhost/ares",
        f"postgresql://ares:{PASSWORD}@localhost:five/ares",
        f"postgresql://ares:{PASSWORD}@@localhost/ares",
        f"postgresql://ares:12/{PASSWORD}@localhost/ares",
        f"postgresql://ares:{PASSWORD}#x@localhost/ares",
        f"postgresql://ares:{PASSWORD}@[::1/ares",
        f"postgresql://ares:12?x={PASSWORD}@localhost/ares",
        f"postgresql://ares@localhost/ares?{PASSWORD}",
        f"postgresql://ares:{PASSWORD}@localhost:99999999/ares",
    ],
)
async def test_what_is_no_url_is_told_its_form_and_nothing_of_it_is_shown(url: str) -> None:
    message = await refusal(url)
    assert "postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in message


async def test_an_unusable_option_in_the_url_is_named() -> None:
    message = await refusal(f"postgresql://ares:{PASSWORD}@127.0.0.1/ares?sslmode=sometimes")
    assert "sslmode" in message


@needs_debian_postgres
async def test_a_password_with_encoded_characters_is_taken(server: DebianServer) -> None:
    odd = "p@ss:w/o#r%d?"
    psql(server, f"CREATE ROLE odd LOGIN PASSWORD '{odd}'")
    facts = await check_database(server.tcp_url(role="odd", password=quote(odd, safe="")), need_create=False)
    assert facts.version_num // 10_000 == 15


@needs_debian_postgres
@needs_pgbouncer
@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
async def test_pgbouncer_is_noticed_and_what_does_not_work_is_said(server: DebianServer, pool_mode: str) -> None:
    with pgbouncer(server, pool_mode) as url:
        facts = await check_database(url)
        assert facts.pooled
        assert asyncpg_kwargs(facts) == {"statement_cache_size": 0}
        assert len(facts.warnings) == 1
        for word in ("advisory locks", "LISTEN/NOTIFY", "prepared statements"):
            assert word in facts.warnings[0]
        async with asyncpg.create_pool(url, min_size=2, max_size=4, **asyncpg_kwargs(facts)) as pool:
            answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int + 1", n) for n in range(40)))
        assert answers == list(range(1, 41))


@needs_debian_postgres
@needs_pgbouncer
async def test_pgbouncer_that_pools_statements_is_refused(server: DebianServer) -> None:
    with pgbouncer(server, "statement") as url:
        assert "pool_mode" in await refusal(url)


@needs_debian_postgres
@needs_pgbouncer
async def test_mistakes_behind_pgbouncer_are_one_line_too(server: DebianServer) -> None:
    with pgbouncer(server) as url:
        assert "password authentication failed" in await refusal(url.replace(PASSWORD, "wrong-Pa55"))
        assert "nowhere" in await refusal(url.replace("/ares", "/nowhere"))
