"""docs/conformance.md names every statement and every test that holds Ares to one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "conformance.md").read_text()
STATEMENTS = range(1, 41)


def _tests_of_statements() -> set[tuple[int, str]]:
    """(statement, `path::name`) of every test whose docstring starts with `Statement N.`"""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                numbers = re.match(r"Statements? ([0-9, and]+)\.", ast.get_docstring(node) or "")
                for number in re.findall(r"\d+", numbers[1]) if numbers else ():
                    found.add((int(number), f"{path.relative_to(ROOT).as_posix()}::{node.name}"))
    return found


def test_every_statement_is_listed_with_its_result() -> None:
    rows = re.findall(r"^\| (\d+) \| .+ \| (pass|fail) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(STATEMENTS)


def test_the_page_names_exactly_the_tests_that_there_are() -> None:
    listed, number = set(), 0
    for line in PAGE.partition("## Tests")[2].splitlines():
        if heading := re.fullmatch(r"(\d+)\.", line):
            number = int(heading[1])
        elif test := re.fullmatch(r" +\* `(.+)`", line):
            listed.add((number, test[1]))
    assert listed == _tests_of_statements()
    assert {statement for statement, _ in listed} == set(STATEMENTS)


def test_every_test_that_stands_beside_a_statement_about_jaeger_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE.partition("\n## Jaeger\n")[2])
    assert named
    for path, name in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^ *(async )?def {name}\(", text, re.MULTILINE), f"{path}::{name}"
