"""Programs of others that are built from source with Go, once, into a cache outside the repository:
`$ARES_OTEL_TEST_CACHE`, else `~/.cache/ares-otel-tests`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class UnavailableError(RuntimeError):
    """The program cannot be had here. The message is a reason to skip."""


def install(
    source: Path,
    name: str,
    what: str,
    package: str = ".",
    *,
    tags: Sequence[str] = (),
    tests: bool = False,
    seconds: float = 900,
) -> Path:
    """The program, built when it is not there yet.

    Args:
        source: a folder with go.mod and go.sum, which pin every version.
        name: of the binary.
        what: the program is called in a reason.
        package: to be built.
        tags: build tags, which leave out what no test needs.
        tests: the program is the tests of the package.

    Raises:
        UnavailableError: Go is missing or too old, it was not done in so many seconds, or the modules cannot be had.
        AssertionError: the modules are there and the program does not compile.
    """
    go = shutil.which("go")
    if go is None:
        raise UnavailableError(f"{what} is built with Go, which is not on the PATH")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(source.iterdir()) if path.is_file()))
    digest.update(",".join(tags).encode())
    cache = Path(os.environ.get("ARES_OTEL_TEST_CACHE") or Path.home() / ".cache" / "ares-otel-tests")
    folder = cache / f"{name}-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / name
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one run take turns
        if not binary.exists():
            # GOTOOLCHAIN: an older Go says that it is too old, instead of fetching a whole newer one.
            # GOFLAGS: one package at a time, other tests run beside it; `make programs` takes all cores.
            env = {"GOFLAGS": "-p=1", **os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
            fetched = _go([go, "mod", "download"], source, env, seconds)
            if fetched.returncode != 0:
                raise UnavailableError(f"Go cannot fetch the modules of {what}: {fetched.stderr[-500:]}")
            built = folder / f"{name}.new"
            flags = ["-trimpath", "-ldflags", "-s -w", "-tags", ",".join(tags)]
            verb = ["test", "-c"] if tests else ["build"]
            made = _go([go, *verb, *flags, "-o", str(built), package], source, env, seconds)
            assert made.returncode == 0, f"{what} does not compile:\n{made.stderr[-2000:]}"
            built.replace(binary)
    return binary


def _go(command: list[str], folder: Path, env: Mapping[str, str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"Go was not done within {seconds:.0f} s") from error
