"""What Ares asks of the system it runs on."""

from __future__ import annotations

import re
import resource
from pathlib import Path

from tests.support.ares_process import running_ares


def test_ares_takes_as_many_open_files_as_it_may(tmp_path: Path, database_url: str) -> None:
    """The usual soft limit is lower than the number of connections that the doors let in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        with running_ares(tmp_path, "--database-url", database_url, fresh=True) as ares:
            limits = Path(f"/proc/{ares.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = re.search(r"Max open files +(\d+)", limits)
    assert found is not None
    assert int(found[1]) == hard
