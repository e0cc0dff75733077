"""OpenTelemetry's remote sampler for Go, built once from `tests/support/jaegerremote` into the cache of the tests."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.collector import UnavailableError

_SOURCE = Path(__file__).parent / "jaegerremote"
BUILD_SECONDS = 600
RUN_SECONDS = 60


def install() -> Path:
    """The program, built when it is not there yet: about half a minute, once.

    Raises:
        UnavailableError: Go is missing or too old, or the modules cannot be had.
        AssertionError: the modules are there and the program does not compile.
    """
    go = shutil.which("go")
    if go is None:
        raise UnavailableError("the remote sampler is built with Go, which is not on the PATH")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_SOURCE.iterdir()) if path.is_file()))
    cache = Path(os.environ.get("ARES_OTEL_TEST_CACHE") or Path.home() / ".cache" / "ares-otel-tests")
    folder = cache / f"jaegerremote-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / "jaegerremote"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one run take turns
        if not binary.exists():
            fetched = _go(go, "mod", "download")
            if fetched.returncode != 0:
                raise UnavailableError(f"Go cannot fetch the remote sampler's modules: {fetched.stderr[-500:]}")
            built = folder / "jaegerremote.new"
            made = _go(go, "build", "-p", "1", "-trimpath", "-ldflags", "-s -w", "-o", str(built), ".")
            assert made.returncode == 0, f"the remote sampler does not compile:\n{made.stderr[-2000:]}"
            built.replace(binary)
    return binary


def ask(binary: Path, address: str, service: str, *operations: str, decisions: int = 20_000) -> dict[str, Any]:
    """What Go's clients make of the strategy of a service: `kept`, the part of the root spans of each operation that
    the sampler keeps, and the answer by gRPC."""
    done = subprocess.run(
        [binary, address, service, str(decisions), *operations], capture_output=True, text=True, timeout=RUN_SECONDS
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _go(go: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    try:
        return subprocess.run([go, *words], cwd=_SOURCE, env=env, capture_output=True, text=True, timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"Go was not done within {BUILD_SECONDS} s") from error
