"""Whatever code the quickstarts show is in the program that they name, and every program is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.example import EXAMPLES, ROOT

PAGE = (ROOT / "docs" / "quickstarts.md").read_text(encoding="utf-8")
_PROGRAM = re.compile(r"^\[(examples/[\w./]+)\]\(\.\./\1\)", re.MULTILINE)
_BLOCK = re.compile(r"^```(python|javascript|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _pieces() -> list[tuple[str, str, str]]:
    """Program, language and code, for each block: the program is the last one named before it."""
    found = []
    for block in _BLOCK.finditer(PAGE):
        program = _PROGRAM.findall(PAGE, 0, block.start())[-1]
        found += [(program, block[1], piece) for piece in block[2].split("…\n")]
    return found


def _lines(text: str, language: str) -> list[str]:
    """Lines without their indentation, which in a docstring is another one, and commands without comments."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if language == "sh":
        bare = (line.removeprefix("//").strip().replace("\\\\", "\\") for line in lines)
        lines = [re.sub(r"\s{2,}# .*", "", line) for line in bare]
    return lines


def _text(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
    return text


@pytest.mark.parametrize(("program", "language", "piece"), _pieces())
def test_code_of_the_quickstarts_is_part_of_the_program(program: str, language: str, piece: str) -> None:
    source, shown = _lines(_text(ROOT / program), language), _lines(piece, language)
    places = [at for at, line in enumerate(source) if line == shown[0]]
    assert shown in [source[at : at + len(shown)] for at in places] or language == "sh", f"not as it is in {program}"
    assert not [line for line in shown if line not in source]


def test_every_program_is_in_the_quickstarts_or_has_a_page_of_its_own() -> None:
    shown = set(_PROGRAM.findall(PAGE)) | {"examples/trading.py"}
    programs = {
        str(path.relative_to(ROOT))
        for path in EXAMPLES.rglob("*")
        if path.suffix in {".py", ".js", ".ipynb"} and "node_modules" not in path.parts
    }
    assert programs <= shown
