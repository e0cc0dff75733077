"""Processor time of process trees."""

from __future__ import annotations

import subprocess
import sys

from ares_otel.cli.bench.cpu import Meter

_PARENT = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.3: pass\\n"
subprocess.run([sys.executable, "-c", burn])
staying = subprocess.Popen([sys.executable, "-c", burn + "print('burned', flush=True); input()"], stdin=subprocess.PIPE)
sys.stdin.read()
"""


def test_children_that_ended_and_children_that_live_are_counted_once() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"burned\n"
        seconds = Meter(parent.pid, None).ares_seconds()
        parent.kill()
    assert 0.55 < seconds < 1.5  # twice 0.3, and starting Python three times


def test_a_server_elsewhere_is_not_measured() -> None:
    assert Meter(1, None).postgres_seconds() is None
