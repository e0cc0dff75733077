"""Writes `deploy/grafana/dashboards`: `python -m tests.support.grafana`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.grafana.dashboards import DASHBOARDS

FOLDER = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"


def files() -> dict[str, str]:
    """The text of each file by its name."""
    return {f"{one.name}.json": json.dumps(one.json(), indent=2, ensure_ascii=False) + "\n" for one in DASHBOARDS}


def main() -> None:
    """Writes the files and removes others that are there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
