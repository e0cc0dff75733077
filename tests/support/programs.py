"""Builds what `go_program` builds, before the tests and with all cores: `make programs`. Otherwise the first test that
needs a program builds it, while the others of its run wait."""

from __future__ import annotations

import sys

from tests.support import collector, jaeger, jaeger_remote_sampler, otlp_translator, prometheus, remote_write_suite
from tests.support.go_program import UnavailableError


def main() -> int:
    """Says where each program is, or why it is not; 1 when one is missing."""
    missing = 0
    for program in (collector, jaeger_remote_sampler, otlp_translator, remote_write_suite, prometheus, jaeger):
        try:
            print(program.install(), flush=True)
        except UnavailableError as error:
            print(error, file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
