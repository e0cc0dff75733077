"""Named statements: what is bound, what is left out, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ares_otel.query
from ares_otel.query.logs import like_pattern
from ares_otel.query.statements import load_statements, parse_statements
from ares_otel.query.traces import parse_trace_id

_TEXT = """
-- A comment.
-- name: first
SELECT a::text FROM t
WHERE b > :low
  AND c = :name AND d = :name  -- when name
LIMIT :limit
-- name: second
SELECT 1
"""
_FOLDER = Path(ares_otel.query.__file__).parent


def test_parameters_become_numbers_and_a_name_used_twice_is_bound_once() -> None:
    statement = parse_statements(_TEXT)["first"]
    text, values = statement.bind({"low": 1, "name": "x", "limit": 5})
    assert text == "SELECT a::text FROM t\nWHERE b > $1\n  AND c = $2 AND d = $2\nLIMIT $3"
    assert values == [1, "x", 5]


def test_the_line_of_an_absent_parameter_is_left_out() -> None:
    text, values = parse_statements(_TEXT)["first"].bind({"low": 1, "name": None, "limit": 5})
    assert text == "SELECT a::text FROM t\nWHERE b > $1\nLIMIT $2"
    assert values == [1, 5]


def test_a_missing_or_unknown_parameter_is_an_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="limit"):
        parse_statements(_TEXT)["first"].bind({"low": 1, "name": None})
    with pytest.raises(TypeError, match="nmae"):
        parse_statements(_TEXT)["second"].bind({"nmae": 1})


def test_two_statements_of_one_name_and_one_without_a_name_are_errors() -> None:
    with pytest.raises(ValueError, match="Two statements are named a"):
        parse_statements("-- name: a\nSELECT 1\n-- name: a\nSELECT 2")
    with pytest.raises(ValueError, match="no name"):
        parse_statements("SELECT 1")


def test_every_sql_file_of_the_read_side_is_loaded_and_every_statement_of_it_is_used() -> None:
    modules = "".join(file.read_text(encoding="utf-8") for file in sorted(_FOLDER.rglob("*.py")))
    for file in sorted((_FOLDER / "sql").iterdir()):
        assert f'load_statements("{file.name}")' in modules
        for name in load_statements(file.name):
            assert f'"{name}"' in modules, (file.name, name)


def test_no_python_file_of_the_read_side_holds_sql_but_the_compiler_of_searches() -> None:
    compiler = {_FOLDER / "search" / name for name in ("compiler.py", "statements.py")}  # it writes what is asked for
    files = {file for folder in (_FOLDER, _FOLDER.parent / "api") for file in folder.rglob("*.py")}
    for file in files - compiler:
        assert not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE) ", file.read_text(encoding="utf-8")), file


def test_a_pattern_takes_no_character_as_special() -> None:
    assert like_pattern(r"50%_\x") == r"%50\%\_\\x%"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("4BF92F35-77B3-4DA6-A3CE-929D0E0E4736", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("a3ce929d0e0e4736", "0000000000000000a3ce929d0e0e4736"),
        ("1a3ce929d0e0e4736", "000000000000001a3ce929d0e0e4736".zfill(32)),
    ],
)
def test_a_trace_id_is_read_with_or_without_dashes_in_any_case_and_shorter_ones_are_padded(
    text: str, expected: str
) -> None:
    assert parse_trace_id(text).hex == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a3ce929d0e0e473",
        "4bf92f3577b34da6a3ce929d0e0e47360",
        "4bf92f35-77b34da6a3ce929d0e0e4736",
        "{4bf92f3577b34da6a3ce929d0e0e473}",
        "urn:uuid:4bf92f3577b34da6a3ce929d",
        "S/kvNXezTaajzpKdDg5HNg==",
        "0x4bf92f3577b34da6a3ce929d0e0e47",
        "４bf92f3577b34da6a3ce929d0e0e4736",
        "4bf92f3577b34da6a3ce929d0e0e4736\n",
    ],
)
def test_anything_else_is_no_trace_id(text: str) -> None:
    with pytest.raises(ValueError, match="32 hex digits"):
        parse_trace_id(text)
