"""How a process of this very package is started, whatever directory the tests run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[3])
_CODE = """\
import sys
module, root = sys.argv[1:3]
del sys.argv[1:3]
if root not in sys.path:
    sys.path.insert(0, root)
from importlib import import_module
import_module(module).main()
"""
_DROPPED = ("ARES_OTEL_", "OTEL_", "PG", "PYTEST_", "COV_CORE_", "COVERAGE_")


def command(module: str, *arguments: str) -> list[str]:
    """The command line that calls `main` of a module. -P: a `logging.py` of the tests' directory is none of ours."""
    return [sys.executable, "-P", "-c", _CODE, module, _ROOT, *arguments]


def environment() -> dict[str, str]:
    """Without what is meant for the code under test and its database, and for what measures it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
