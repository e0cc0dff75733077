"""The documentation says what is there, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.reference import PAGES, ROOT

DOCUMENTS = [
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".venv") or part in ("node_modules", "assets") for part in path.parts)
]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (path.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_of_the_project_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:ares_otel|tests|docs|migrations|collector|deploy|benchmarks)/[\w./-]*)`",
        path.read_text(encoding="utf-8"),
    )
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", path.read_text(encoding="utf-8")))
    assert named <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_merge_left_its_marks(path: Path) -> None:
    assert not re.search(r"^(<{7}|={7}$|>{7})", path.read_text(encoding="utf-8"), re.MULTILINE)
