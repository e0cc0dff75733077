"""The programs in `examples/` as processes: started as their head comments say, on free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.ares_process import environment

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
START_SECONDS = 60.0
STOP_SECONDS = 40.0


class Example:
    """A server of `examples/` that runs and answers."""

    def __init__(self, command: Sequence[str], port: int, env: Mapping[str, str], folder: Path = ROOT) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._said = ""
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=example_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def said(self) -> str:
        """What it printed so far, on both outputs."""
        if not self._output.closed:
            size = os.fstat(self._output.fileno()).st_size
            self._said = os.pread(self._output.fileno(), size, 0).decode(errors="replace")
        return self._said

    def wait_until_it_answers(self) -> None:
        """Returns when something answers on its port, whatever it says."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/favicon.ico", timeout=START_SECONDS):
                    return
            except urllib.error.HTTPError as answer:
                answer.close()
                return
            except OSError:
                assert self._process.poll() is None, f"ended before it answered:\n{self.said}"
                assert time.monotonic() < deadline, f"does not answer within {START_SECONDS:.0f} s:\n{self.said}"
                time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to it."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for its end, and gives its exit code."""
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {STOP_SECONDS:.0f} s:\n{self.said}") from None

    def stop(self) -> int:
        """SIGTERM, as systemd or a container engine sends it; gives the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Ends it at once. Safe twice, and after `stop`."""
        self._process.kill()
        self._process.wait()
        self._said = self.said
        self._output.close()


@contextmanager
def running(example: Example) -> Iterator[Example]:
    """The example for the length of a block; what it said is added to a failure."""
    try:
        example.wait_until_it_answers()
        yield example
    except BaseException as error:
        error.add_note(f"the example said:\n{example.said[-4_000:]}")
        raise
    finally:
        example.kill()


def module(*words: str) -> list[str]:
    """The command line of `python -m WORDS` with this interpreter."""
    return [sys.executable, "-m", *words]


def instrumented(*words: str) -> list[str]:
    """The same under `opentelemetry-instrument`, which knows nothing of Ares."""
    return [str(Path(sys.executable).parent / "opentelemetry-instrument"), *module(*words)]


def example_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """As of a shell in this checkout, without settings of Ares or OpenTelemetry but those given."""
    paths = [str(ROOT), *filter(None, [extra.get("PYTHONPATH")])]
    return {**environment(extra), "PYTHONPATH": ":".join(paths), "PYTHONUNBUFFERED": "1"}
