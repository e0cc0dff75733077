"""Who owns a data directory, and what is said about it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from ares_otel.model.errors import StartError
from ares_otel.storage.data_dir import DataDir, default_data_dir, hide_credentials
from ares_otel.storage.embedded_socket import make_socket_directory, remove_socket_directory, socket_url
from ares_otel.storage.embedded_user import ServerUser

ME = ServerUser("me", os.geteuid(), os.getegid(), switch=False)


def test_the_default_is_in_the_home_of_a_user_and_outside_of_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_dir() == Path("/home/me/.local/share/ares-otel")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/ares-otel")


def test_a_directory_has_one_owner_at_a_time_and_the_line_names_process_and_doors(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path / "data"), DataDir(tmp_path / "data")
    first.acquire()
    first.announce({"http": "http://127.0.0.1:8080", "database": "postgresql://me:secret@host/db"})
    with pytest.raises(StartError) as caught:
        second.acquire()
    assert f"process {os.getpid()}" in caught.value.message
    assert "http http://127.0.0.1:8080" in caught.value.message
    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message
    first.release()
    first.release()
    second.acquire()
    second.release()


def _hold_and_die(path: Path) -> None:
    DataDir(path).acquire()
    os._exit(9)


def test_a_holder_that_died_holds_nothing(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_die, args=(tmp_path / "data",))
    process.start()
    process.join()
    assert process.exitcode == 9
    held = DataDir(tmp_path / "data")
    held.acquire()
    held.release()


def test_a_lock_file_with_nonsense_in_it_still_gives_one_clear_line(tmp_path: Path) -> None:
    first = DataDir(tmp_path)
    first.acquire()
    (tmp_path / "ares-otel.lock").write_bytes(b"\xff[1")
    with pytest.raises(StartError, match="in use by another process"):
        DataDir(tmp_path).acquire()
    first.release()


def test_the_directory_is_closed_to_others(tmp_path: Path) -> None:
    held = DataDir(tmp_path / "data")
    held.acquire()
    assert (tmp_path / "data").stat().st_mode & 0o066 == 0
    held.release()


def test_a_directory_below_one_that_is_closed_to_this_user_is_one_clear_line(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    root = os.geteuid() == 0
    if root:  # root gets everywhere: look as somebody else
        tmp_path.parent.parent.chmod(0o711)
        os.seteuid(65534)
    else:
        closed.chmod(0)
    try:
        with pytest.raises(StartError, match=r"No permission to write .*closed/x") as caught:
            DataDir(closed / "x").acquire()
    finally:
        if root:
            os.seteuid(0)
        else:
            closed.chmod(0o700)
    assert "\n" not in caught.value.message


def test_the_home_of_a_user_whom_nobody_knows_is_one_clear_line() -> None:
    with pytest.raises(StartError, match=r"home directory in ~nobody-knows/x is not known.*--data-dir"):
        DataDir(Path("~nobody-knows/x"))


def test_a_link_planted_as_the_lock_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ares-otel.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="in the way"):
        DataDir(tmp_path).acquire()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("up --database-url postgresql://me:pw@host/db", "up --database-url postgresql://***@host/db"),
        ("postgresql://host/db?password=pw&x=1", "postgresql://host/db?password=***&x=1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
    ],
)
def test_credentials_in_urls_are_hidden(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown


def test_the_socket_is_in_the_data_directory_where_its_path_is_short_enough(tmp_path: Path) -> None:
    assert make_socket_directory(tmp_path, ME) == tmp_path / "run"
    assert make_socket_directory(tmp_path, ME) == tmp_path / "run"


@pytest.mark.parametrize("name", ["x" * 120, "one,two"])
def test_the_socket_of_a_path_that_clients_cannot_name_is_in_the_runtime_directory(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    runtime = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    home = tmp_path / name
    home.mkdir()
    directory = make_socket_directory(home, ME)
    assert directory.parent == runtime
    assert directory.stat().st_mode & 0o777 == 0o700
    assert make_socket_directory(home, ME) == directory
    other = tmp_path / (name + "2")
    other.mkdir()
    assert make_socket_directory(other, ME) != directory


def test_a_socket_directory_elsewhere_is_removed_when_it_is_empty_and_the_one_at_home_stays(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))
    long = tmp_path / ("x" * 120)
    long.mkdir()
    directory = make_socket_directory(long, ME)
    (directory / "mine").touch()
    remove_socket_directory(long, directory)
    assert directory.exists()
    (directory / "mine").unlink()
    remove_socket_directory(long, directory)
    remove_socket_directory(long, directory)
    assert not directory.exists()
    at_home = make_socket_directory(tmp_path, ME)
    remove_socket_directory(tmp_path, at_home)
    assert at_home.exists()


def test_a_link_in_the_place_of_the_socket_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="does not belong to the user me"):
        make_socket_directory(tmp_path, ME)


def test_the_url_encodes_the_path() -> None:
    url = socket_url(Path("/a b/c&d=e%20?#"), user="ares", database="ares")
    assert url == "postgresql://ares@/ares?host=/a%20b/c%26d%3De%2520%3F%23&port=5432&sslmode=disable"
