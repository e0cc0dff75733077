"""`python -m tests.fuzz.sanitized`: the encoder's tests and the fuzzer, with a native encoder that checks itself.

It is built with address and undefined behaviour sanitizers in a copy of the tree, so that the one in place stays as it
is. CPython leaks on purpose, so leaks are not looked for. Python's own allocator is left out: then every request stands
in memory of its own, and a read past its end is seen.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.reference import ROOT

TESTS = ("spans", "logs", "metrics", "envelope", "rollups", "known", "scanner", "corpus", "fuzz")
COPIED = ("ares_otel", "tests", "migrations", "collector", "pyproject.toml", "hatch_build.py")


def libraries() -> str:
    """What has to be loaded before anything else: the sanitizers of the compiler."""
    compiler = os.environ.get("CC", "cc")
    found = []
    for name in ("libasan.so", "libubsan.so", "libstdc++.so.6"):
        done = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        path = Path(done.stdout.strip())
        if not path.is_absolute():
            raise SystemExit(f"{compiler} has no {name}: `make sanitize` needs gcc with its sanitizers.")
        found.append(str(path))
    return " ".join(found)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the encoder's tests and the fuzzer under sanitizers.")
    parser.add_argument("--seconds", type=float, default=60, help="of the fuzzer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ares-sanitized-") as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=ignored)
            else:
                shutil.copy2(source, tree / name)
        subprocess.run([sys.executable, "hatch_build.py", "--sanitize"], cwd=tree, check=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": libraries(),
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:abort_on_error=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "PYTHONMALLOC": "malloc",
            "ARES_OTEL_IMPL": "native",
            "ARES_OTEL_TEST_SERVER": "none: these tests need no database",
        }
        files = [*(f"tests/unit/test_rows_{name}.py" for name in TESTS), "tests/unit/test_sdk_encode.py"]
        pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "900", *files]
        fuzz = [sys.executable, "-m", "tests.fuzz", "--seconds", str(arguments.seconds)]
        for command in (pytest, fuzz):
            status = subprocess.run(command, cwd=tree, env=environment, check=False).returncode
            for found in (tree / "tests" / "corpus").glob("*-found-*.bin"):
                shutil.copy2(found, ROOT / "tests" / "corpus")
            if status:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
