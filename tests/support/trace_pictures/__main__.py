"""Writes the pictures."""

from __future__ import annotations

from tests.support.trace_pictures.pictures import FOLDER, PAGE, PICTURES, rewritten

if __name__ == "__main__":
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.txt").write_text(draw(), encoding="utf-8")
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
