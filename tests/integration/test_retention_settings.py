"""Every setting of retention and sealing reaches the jobs, and none takes what makes no sense."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ares_otel.cli.maintenance import disk_of, retention_settings, seal_settings
from ares_otel.control.config.schema import problem_of
from ares_otel.storage.partitions.settings import RetentionSettings, SealSettings
from tests.support.managed_config import arrives, managed, put

SETTINGS: dict[str, tuple[Any, str, Any]] = {
    "retention.days": (7, "days", 7.0),
    "retention.traces.days": (0, "signal_days", {"traces": 0.0}),
    "retention.logs.days": (1.5, "signal_days", {"logs": 1.5}),
    "retention.metrics.days": (90, "signal_days", {"metrics": 90.0}),
    "retention.max_bytes": (10**12, "max_bytes", 10**12),
    "retention.services": ({"noisy": 3}, "service_days", {"noisy": 3.0}),
    "retention.disk_percent": (80, "disk_percent", 80.0),
    "retention.archive_directory": ("/archive", "archive_directory", "/archive"),
    "rejected.days": (2, "rejected_days", 2.0),
    "rejected.max_rows": (10, "rejected_rows", 10),
    "receipts.hours": (48, "receipts_hours", 48.0),
    "seal.enabled": (False, "enabled", False),
    "seal.grace_hours": (2, "grace_hours", 2.0),
    "seal.memory_mb": (256, "memory_mb", 256),
    "seal.rebuild": (False, "rebuild", False),
    "seal.pack": (False, "pack", False),
    "seal.pack_mib": (0, "pack_mib", 0),
    "seal.workers": (1, "workers", 1),
    "seal.pause_seconds": (0, "pause_seconds", 0.0),
    "seal.timeout_minutes": (5, "timeout_minutes", 5.0),
}
"""Key → a value, the field that it sets, and what the field then holds."""


async def test_every_setting_reaches_the_jobs_without_a_restart(database_url: str, sql: asyncpg.Connection) -> None:
    async with managed(database_url, services=["ares-api"], check=problem_of) as manager:
        assert retention_settings(manager) == RetentionSettings()
        assert seal_settings(manager) == SealSettings()
        for key, (value, field, expected) in SETTINGS.items():
            await put(sql, key, value, service="ares-api")
            await arrives(manager, key, value)
            job: Any = seal_settings(manager) if key.startswith("seal.") else retention_settings(manager)
            found = getattr(job, field)
            assert found == expected or expected.items() <= found.items(), key
    known = {field.name for kind in (RetentionSettings, SealSettings) for field in fields(kind)}
    assert {field for _, field, _ in SETTINGS.values()} == known


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retention.days", -1),
        ("retention.days", "30"),
        ("retention.max_bytes", 1.5),
        ("retention.services", {"noisy": 0}),
        ("retention.services", {"": 3}),
        ("retention.services", ["noisy"]),
        ("retention.disk_percent", 101),
        ("retention.disk_percent", 0),
        ("retention.archive_directory", "archive"),
        ("retention.archive_directory", 3),
        ("receipts.hours", 0),
        ("seal.workers", 9),
        ("seal.enabled", 1),
    ],
)
def test_what_makes_no_sense_is_refused(key: str, value: Any) -> None:
    problem = problem_of("ares-api", key, value)
    assert problem is not None
    assert problem.startswith(f"The value of ares-api/{key} must be ")


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (value, _, _) in SETTINGS.items()])
def test_what_the_docs_show_is_accepted(key: str, value: Any) -> None:
    assert problem_of("ares-api", key, value) is None
    assert problem_of("ares-api", "retention.archive_directory", "") is None


def test_the_disk_is_that_of_the_directory_and_none_when_there_is_none(tmp_path: Path) -> None:
    disk = disk_of(tmp_path)
    assert disk is not None
    assert disk.used > 0
    assert disk_of(tmp_path / "none") is None
