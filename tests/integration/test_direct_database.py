"""What the exporters into PostgreSQL say of a database that is not as they need it, and which rights they need."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from ares_otel.sdk.direct import session
from ares_otel.sdk.direct.database import PRIVILEGES
from ares_otel.storage.migrate import migrate
from tests.support.poison import POISON, refuse_poison
from tests.support.sdk_application import application, some_spans

PAGE = Path(__file__).parents[2] / "docs" / "direct-exporters.md"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(session, "LONGEST_DELAY", 0.1)


def with_user(url: str, user: str) -> str:
    return url.replace("//ares@", f"//{user}@")


def grants() -> str:
    """The statements of the page, of which people copy them."""
    text = PAGE.read_text(encoding="utf-8")
    return text.split("<!-- grants -->\n```sql\n")[1].split("```")[0]


@pytest.fixture
async def role(sql: asyncpg.Connection) -> AsyncIterator[str]:
    """A role that may connect, and nothing else."""
    name = f"app_{uuid.uuid4().hex[:12]}"
    await sql.execute(f"CREATE ROLE {name} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    yield name
    await sql.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def complaint(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """What is said of a database that takes nothing."""
    deadline = time.monotonic() + 60
    with application(url) as app:
        app.spans.export(some_spans(app))
        while not (sentences := _complaints(caplog)):
            assert not app.spans.force_flush(300)
            assert time.monotonic() < deadline, "nothing is said"
        assert not app.spans.force_flush(100)
        assert app.spans.stats().waiting == 1, "it goes on trying"
    assert _complaints(caplog) == sentences
    (sentence,) = sentences
    return sentence


def _complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "cannot be stored now" in record.getMessage()]


def test_a_database_without_tables_wants_a_migration(empty_database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    sentence = complaint(empty_database_url, caplog)
    assert "has no tables of Ares: run `ares-otel migrate --database-url URL`" in sentence


async def test_a_database_that_is_migrated_meanwhile_takes_what_waited(empty_database_url: str) -> None:
    with application(empty_database_url) as app:
        app.work()
        assert not await asyncio.to_thread(app.flush, 100)
        connection = await asyncpg.connect(empty_database_url)
        assert not await connection.fetchval("SELECT to_regclass('service_spans') IS NOT NULL"), "nor migrates itself"
        await migrate(connection)
        assert await asyncio.to_thread(app.flush)
        assert await connection.fetchval("SELECT count(*) FROM service_spans") == 1
        await connection.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DELETE FROM schema_migrations WHERE version = 17", "lacks the migration 017_partition_lengths"),
        (
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (999, '999_later', 'x')",
            "start a newer ares-otel",
        ),
    ],
    ids=["older", "newer"],
)
async def test_tables_of_another_version(
    database_url: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture, change: str, says: str
) -> None:
    await sql.execute(change)
    assert says in await asyncio.to_thread(complaint, database_url, caplog)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("mysql://x@y/z", "is not a PostgreSQL URL"),
        ("postgresql://a:b@c@d/e", "percent-encoded"),
        ("postgresql://x@127.0.0.1:1/db", "Nothing listens at 127.0.0.1:1/db"),
    ],
    ids=["scheme", "password", "port"],
)
def test_a_wrong_url_is_said_without_the_password(caplog: pytest.LogCaptureFixture, wrong: str, says: str) -> None:
    sentence = complaint(wrong, caplog)
    assert says in sentence
    assert "database_url (ARES_OTEL_DATABASE_URL)" in sentence
    assert "b@c" not in sentence


def test_a_database_that_is_not_there_is_said(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    sentence = complaint(database_url.replace(urlsplit(database_url).path, "/missing"), caplog)
    assert "has no such database" in sentence


async def test_a_role_without_rights_hears_what_it_lacks(
    database_url: str, role: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await sql.execute(f"GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT ON schema_migrations TO {role}")
    sentence = await asyncio.to_thread(complaint, with_user(database_url, role), caplog)
    assert "INSERT ON service_spans" in sentence
    assert "USAGE ON metric_samples_id_seq" in sentence
    assert "docs/direct-exporters.md" in sentence


async def test_the_grants_of_the_page_are_enough_and_none_is_too_many(
    database_url: str, role: str, sql: asyncpg.Connection
) -> None:
    await sql.execute(grants().replace("orders_app", role))
    await refuse_poison(sql)
    with application(with_user(database_url, role)) as app:
        app.work()
        assert await asyncio.to_thread(app.flush), app.spans.stats()
        app.work(POISON)
        assert not await asyncio.to_thread(app.flush)
        assert [exporter.stats().rejected for exporter in app.exporters] == [1, 1, 0]
    assert await sql.fetchval("SELECT count(*) FROM service_logs") == 1
    assert await sql.fetchval("SELECT count(*) FROM ingest_rejected") == 2
    given = await sql.fetch(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants WHERE grantee = $1", role
    )
    assert {(row["table_name"], row["privilege_type"]) for row in given} == {
        (table, privilege) for table, privileges in PRIVILEGES.items() for privilege in privileges
    }


async def test_a_role_that_may_not_make_partitions_says_so_when_there_is_none(
    database_url: str, role: str, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await sql.execute(grants().replace("orders_app", role))
    for partition in await sql.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'service_spans'::regclass"
    ):
        await sql.execute(f"DROP TABLE {partition['name']}")
    sentence = await asyncio.to_thread(complaint, with_user(database_url, role), caplog)
    assert "has no partition for now" in sentence


async def test_a_member_of_the_owner_makes_partitions_itself(
    database_url: str, role: str, sql: asyncpg.Connection
) -> None:
    await sql.execute(f"GRANT ares TO {role}; GRANT USAGE ON SCHEMA public TO {role}")
    for partition in await sql.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'service_spans'::regclass"
    ):
        await sql.execute(f"DROP TABLE {partition['name']}")
    with application(with_user(database_url, role)) as app:
        app.spans.export(some_spans(app))
        assert await asyncio.to_thread(app.spans.force_flush, 20_000)
    assert await sql.fetchval("SELECT count(*) FROM service_spans") == 1
