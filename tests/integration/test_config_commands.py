"""`ares-otel config …` as a person and as a script use it, on a real database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.ares_process import command, environment, run_ares

ONE, TWO = bytes(32).hex(), bytes(range(32)).hex()
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(database_url: str) -> Run:
    def run(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return run_ares(["config", *arguments], env=_variables(database_url, **variables), stdin=stdin)

    return run


def _variables(database_url: str, **variables: str) -> dict[str, str]:
    return {"ARES_OTEL_DATABASE_URL": database_url, "ARES_OTEL_CONFIG_KEY": ONE, "USER": "alice", **variables}


def said(result: subprocess.CompletedProcess[str], status: int = 0) -> str:
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


def test_a_setting_is_set_read_changed_and_undone_and_each_step_is_one_sentence(run: Run) -> None:
    assert said(run("set", "shop", "retry.limit", "2")) == "shop/retry.limit: new: 2 by alice (version 1)\n"
    assert said(run("set", "shop", "retry.limit", "3", "-r", "too few", "--by", "bob")) == (
        "shop/retry.limit: 2 → 3 by bob: too few (version 2)\n"
    )
    assert said(run("set", "shop", "retry.limit", "3")) == "shop/retry.limit is 3 already, version 2.\n"
    assert said(run("get", "shop", "retry.limit")) == "3\n"
    assert said(run("rollback", "shop", "retry.limit", "1", "-r", "worse")) == (
        "shop/retry.limit: 3 → 2 by alice: worse (version 3)\n"
    )
    lines = said(run("history", "shop", "retry.limit")).splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["version 3", "version 2", "version 1"]
    assert lines[1].endswith("2 → 3 by bob: too few")
    assert said(run("delete", "shop", "retry.limit")) == "shop/retry.limit: 2 → deleted by alice (version 4)\n"
    assert "shop has no setting retry.limit" in run("get", "shop", "retry.limit").stderr


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("5",), 5),
        (("true",), True),
        (('{"a": [1, null]}',), {"a": [1, None]}),
        (('"5"',), "5"),
        (("5", "--string"), "5"),
        (("some words",), "some words"),
        (("10.0.0.1:6379",), "10.0.0.1:6379"),
        (("ünïcode",), "ünïcode"),
    ],
)
def test_a_value_is_json_if_it_can_be_and_else_text(run: Run, arguments: tuple[str, ...], value: object) -> None:
    said(run("set", "shop", "a/b.c", *arguments))
    assert json.loads(said(run("get", "shop", "a/b.c", "--json")))["config_value"] == value


def test_mistakes_are_one_line_and_change_nothing(run: Run) -> None:
    for arguments, words in [
        (("set", "ares-api", "logging.level", "loud"), "must be one of debug, info, warn, error"),
        (("set", "shop", "x", '{"a": 1'), "is not JSON: Expecting ',' delimiter"),
        (("set", "shop", "x", "1", "--if-version", "3"), "the setting does not exist"),
        (("rollback", "ares-api", "logging.level", "9"), "never had a version 9"),
        (("import", "shop", "/nowhere.json"), "/nowhere.json cannot be read: No such file or directory"),
    ]:
        result = run(*arguments)
        assert result.returncode == 1
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
    assert said(run("get", "ares-api", "logging.level")) == "info\n"


def test_without_a_running_ares_or_with_a_bad_key_that_is_said(run: Run, tmp_path: Path) -> None:
    result = run("list", "shop", ARES_OTEL_DATABASE_URL="", ARES_OTEL_DATA_DIR=str(tmp_path))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"No Ares runs on {tmp_path}" in result.stderr
    result = run("list", "shop", ARES_OTEL_CONFIG_KEY="c2VjcmV0")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "ARES_OTEL_CONFIG_KEY holds 6 bytes" in result.stderr
    assert "c2VjcmV0" not in result.stderr


def test_the_settings_of_a_service_are_a_table(run: Run) -> None:
    lines = said(run("list", "agent-coordinator")).splitlines()
    assert lines[0].split() == ["KEY", "VALUE", "VERSION", "CHANGED", "BY", "DESCRIPTION"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["polling_interval", "5", "1"],
        ["task.max_concurrent", "5", "1"],
        ["task.retry_count", "3", "1"],
    ]
    assert len(json.loads(said(run("list", "agent-coordinator", "--json")))) == 3


def test_versions_services_and_files_are_compared_and_the_status_says_whether_they_differ(
    run: Run, tmp_path: Path
) -> None:
    said(run("set", "shop", "limit", "1"))
    said(run("set", "shop", "limit", "2", "-r", "more"))
    assert said(run("diff", "shop", "limit", "1", "2"), 1) == "- version 1: 1 by alice\n+ version 2: 2 by alice: more\n"
    assert said(run("diff", "shop", "limit", "2")) == ""
    assert run("diff", "shop", "limit", "7").returncode == 2
    file = tmp_path / "shop.json"
    said(run("export", "shop", "-o", str(file)))
    assert said(run("diff", "shop", str(file))) == ""
    said(run("set", "shop", "limit", "3"))
    said(run("set", "shop", "other", "x"))
    assert said(run("diff", str(file), "shop"), 1) == '- limit: 2\n+ limit: 3\n+ other: "x"\n'
    assert run("diff", "shop", "no-such-service").returncode == 2


def test_a_document_goes_in_as_one_after_a_dry_run_that_changes_nothing(run: Run, tmp_path: Path) -> None:
    said(run("set", "shop", "limit", "1"))
    said(run("set", "shop", "secret", "-", "--encrypt", stdin="hush\n"))
    document = said(run("export", "shop"))
    assert "hush" not in document
    said(run("set", "shop", "limit", "2"))
    said(run("set", "shop", "extra", "true"))
    file = tmp_path / "shop.json"
    file.write_text(document)
    wanted = ["shop/extra: true → deleted by alice: tidy (version 2)", "shop/limit: 2 → 1 by alice: tidy (version 3)"]
    dry = said(run("import", "shop", str(file), "--replace", "-r", "tidy", "--dry-run"))
    assert dry.splitlines() == wanted
    assert said(run("get", "shop", "limit")) == "2\n"
    assert said(run("import", "shop", "-", "--replace", "-r", "tidy", stdin=document)).splitlines() == wanted
    assert said(run("get", "shop", "limit")) == "1\n"
    assert said(run("import", "shop", str(file))) == "Nothing changed.\n"


def test_a_secret_is_shown_only_when_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    said(run("set", "shop", "password", "-", "--encrypt", stdin="hush-1\n"))
    said(run("set", "shop", "password", "-", stdin="hush-2\n"))
    for arguments in (("get", "shop", "password"), ("list", "shop"), ("history", "shop", "password")):
        result = run(*arguments)
        assert "hush" not in said(result) + result.stderr
        assert "hush-2" in said(run(*arguments, "--reveal"))
    file = tmp_path / "out.json"
    said(run("export", "shop", "--reveal", "-o", str(file)))
    assert "hush-2" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    result = run("get", "shop", "password", "--reveal", ARES_OTEL_CONFIG_KEY=TWO)
    assert result.returncode == 1
    assert "is encrypted with the key" in result.stderr
    assert said(run("get", "ares-api", "logging.level", ARES_OTEL_CONFIG_KEY=TWO)) == "info\n"


def test_the_key_is_changed_and_the_old_one_is_needed_no_more(run: Run) -> None:
    said(run("set", "shop", "password", "-", "--encrypt", stdin="hush-1\n"))
    said(run("set", "shop", "password", "-", stdin="hush-2\n"))
    both = {"ARES_OTEL_CONFIG_KEY": TWO, "ARES_OTEL_CONFIG_OLD_KEYS": ONE}
    assert "1 current and 3 past values were encrypted anew" in said(run("rotate-key", **both))
    assert "are under the key" in said(run("rotate-key", **both))
    assert "hush-1" in said(run("history", "shop", "password", "--reveal", ARES_OTEL_CONFIG_KEY=TWO))
    result = run("rotate-key", ARES_OTEL_CONFIG_KEY=ONE)
    assert result.returncode == 1
    assert "2 rows" in result.stdout or "3 rows" in result.stdout
    assert "which is not configured" in result.stderr
    assert "hush" not in result.stdout + result.stderr


@pytest.fixture
def watching(database_url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("config", "watch", "shop"),
        env=environment(_variables(database_url)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    assert "Watching shop" in process.stderr.readline()
    yield process
    process.kill()
    process.wait()
    process.stderr.close()
    process.stdout.close()


def test_changes_are_shown_as_they_happen_until_ctrl_c(run: Run, watching: subprocess.Popen[str]) -> None:
    assert watching.stdout is not None
    said(run("set", "shop", "limit", "1"))
    assert watching.stdout.readline().rstrip().endswith("shop/limit: new: 1 by alice (version 1)")
    said(run("set", "other", "limit", "1"))
    said(run("set", "shop", "limit", "2", "-r", "more"))
    assert watching.stdout.readline().rstrip().endswith("shop/limit: 1 → 2 by alice: more (version 2)")
    said(run("set", "shop", "password", "-", "--encrypt", stdin="hush\n"))
    assert "hush" not in watching.stdout.readline()
    os.kill(watching.pid, signal.SIGINT)
    assert watching.wait(30) == 130
    assert watching.stderr is not None
    assert watching.stderr.read() == ""
