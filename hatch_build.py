"""Builds the native row encoder: a hook of `pip install` and `python -m build`; as a script it builds in place.

The encoder is optional. Without a C compiler the package installs as pure Python, and says so; with
ARES_OTEL_BUILD_NATIVE=1 that is an error, with 0 nothing is compiled.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, with Cython and setuptools but without hatchling
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
MODULE = "ares_otel.storage.rows._native"
SOURCE = Path("ares_otel/storage/rows/pyx/_native.pyx")
VARIABLE = "ARES_OTEL_BUILD_NATIVE"
LOST = (
    "Ares OTel: the native row encoder is NOT built, so Ares takes in several times fewer items a second with pure "
    f"Python. Reason: {{}}. It needs a C compiler and Python's headers; {VARIABLE}=1 makes this an error."
)
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]
FAST = ["-O2", "-g0", "-fvisibility=hidden"]
SANITIZED = [
    *("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
]


class NotBuilt(Exception):
    """The extension could not be compiled; the message says why in a few words."""


def build_native(root: Path, output: Path, *, sanitize: bool = False) -> Path:
    """Compiles the extension of the tree at `root` and returns its path below `output`.

    Raises:
        NotBuilt: there is no compiler, no headers, no Cython, or it does not compile.
    """
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
    except ImportError as error:
        raise NotBuilt(f"{error.name} is not installed") from error
    flags = SANITIZED if sanitize else FAST
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="ares-native-") as work:
        try:
            os.chdir(root)  # Cython names sources by their path from here
            sources = runpy.run_path("ares_otel/storage/rows/native_sources.py")
            digest = sources["digest_of_sources"](SOURCE.parent)
            extension = Extension(
                MODULE,
                [str(SOURCE)],
                define_macros=[("ARES_NATIVE_SOURCES", f'"{digest}"')],
                extra_compile_args=[*flags, *WARNINGS],
                extra_link_args=[flag for flag in flags if flag.startswith("-fsanitize")],
            )
            modules = cythonize([extension], build_dir=f"{work}/c", quiet=True, force=True)
            distribution = Distribution({"name": "ares-otel", "ext_modules": modules, "packages": []})
            command: Any = distribution.get_command_obj("build_ext")
            command.build_lib, command.build_temp = f"{work}/lib", f"{work}/o"
            command.force, command.debug = True, sanitize
            command.ensure_finalized()
            command.run()
            made = Path(work, "lib", command.get_ext_filename(MODULE))
            target = output / made.relative_to(Path(work, "lib"))
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_suffix(".new")
            shutil.copy2(made, fresh)
            fresh.replace(target)  # a running process keeps the one that it has loaded
        except (Exception, SystemExit) as error:
            raise NotBuilt(_in_few_words(error)) from error
        finally:
            os.chdir(before)
    return target


def _in_few_words(error: BaseException) -> str:
    """What went wrong; of a failed command its name and status, not its arguments."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, subprocess.CalledProcessError):
            return f"{cause.cmd[0]} ended with status {cause.returncode}"
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:300] or type(error).__name__


def wanted() -> bool | None:
    """What ARES_OTEL_BUILD_NATIVE says: True must, False must not, None may."""
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise SystemExit(f"{VARIABLE} is {value!r}; it must be 1 (must be built), 0 (is not built) or empty.")
    return bool(int(value)) if value else None


class NativeHook(BuildHookInterface):  # type: ignore[misc]
    """Puts the extension into the wheel, which gets the tag of this platform; an editable install gets it in place."""

    PLUGIN_NAME = "custom"
    _work: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        must = wanted()
        if must is False:
            self.app.display_warning(LOST.format(f"{VARIABLE} is 0"))
            return
        root = Path(self.root)
        if version == "editable":
            output = root
        else:
            self._work = tempfile.mkdtemp(prefix="ares-native-")
            output = Path(self._work)
        try:
            made = build_native(root, output)
        except NotBuilt as error:
            if must:
                self.finalize(version, build_data, "")  # which nobody calls now
                raise RuntimeError(f"{VARIABLE} is 1, but the native row encoder was not built: {error}.") from error
            self.app.display_warning(LOST.format(error))
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"][str(made)] = str(made.relative_to(output))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)


def main() -> int:
    """`python hatch_build.py`: compiles in place. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Compile the native row encoder, in place unless told otherwise.")
    parser.add_argument("--output", type=Path, default=ROOT, help="folder that gets the package path of the extension")
    parser.add_argument("--sanitize", action="store_true", help="with address and undefined behaviour sanitizers")
    arguments = parser.parse_args()
    try:
        made = build_native(ROOT, arguments.output.resolve(), sanitize=arguments.sanitize)
    except NotBuilt as error:
        sys.stderr.write(LOST.format(error) + "\n")
        return 1
    sys.stderr.write(f"built {made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
