"""The examples of docs/testing.md, run: a ```python block before a ```text block fails, and that is how.

`python -m tests.support.testing_page` writes what the examples say into the page. The clock is not the machine's, so
that the page stays the same.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from ares_otel.testing import capture
from tests.support.reference import ROOT

PAGE = ROOT / "docs" / "testing.md"
_EXAMPLE = re.compile(r"```python\n(?P<code>(?:(?!```).)*)```\n\n```text\n(?P<said>(?:(?!```).)*)```\n", re.DOTALL)
_SHOP = re.compile(r"```python\n(# shop\.py\n.*?)```", re.DOTALL)
_TICK = 2_500_000  # ns


def examples(page: str) -> list[tuple[str, str]]:
    """(code, what the page says about it)."""
    return [(found["code"], found["said"]) for found in _EXAMPLE.finditer(page)]


def fails_with(page: str, code: str) -> str:
    """The message of the example's AssertionError. Each runs as a test of its own, on the page's `shop.py`."""
    shop = _SHOP.search(page)
    assert shop is not None
    namespace: dict[str, Any] = {}
    exec(compile(shop[1], "shop.py", "exec"), namespace)
    with _clock(), capture() as otel:
        namespace["otel"] = otel
        try:
            exec(compile(textwrap.dedent(code), "test_shop.py", "exec"), namespace)
        except AssertionError as error:
            return f"{error}\n"
    raise RuntimeError(f"This example does not fail:\n{code}")


def rewritten(page: str) -> str:
    """The page with what its examples say now."""
    return _EXAMPLE.sub(
        lambda found: f"```python\n{found['code']}```\n\n```text\n{fails_with(page, found['code'])}```\n", page
    )


@contextmanager
def _clock() -> Iterator[None]:
    times = itertools.count(1_700_000_000_000_000_000, _TICK)
    with mock.patch("opentelemetry.sdk.trace.time_ns", side_effect=times):
        yield


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
