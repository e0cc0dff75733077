"""The settings of the embedded server: one table in the code, mirrored by the documentation."""

from __future__ import annotations

from pathlib import Path

from ares_otel.storage.embedded_settings import SETTINGS, render_config

PAGE = Path(__file__).parents[2] / "docs" / "embedded-postgres.md"


def test_the_documentation_has_every_setting_with_its_value_and_reason() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("\n## Settings\n")[2]
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = [f"| `{one.name}` | `{one.value or repr('')}` | {one.reason} |" for one in SETTINGS]
    assert rows == expected


def test_no_setting_stands_in_the_table_twice() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))


def test_values_are_quoted_so_that_no_path_can_end_them() -> None:
    assert "log_directory = '/it''s/a\\\\b'" in render_config("/it's/a\\b")


def test_the_users_own_file_is_read_last() -> None:
    assert render_config("/log").rstrip().splitlines()[-1] == "include_if_exists = 'postgresql.user.conf'"
