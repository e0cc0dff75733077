"""Values that came from senders, as text for a terminal: nothing in them steers it or forges a line."""

from __future__ import annotations

import json
from typing import Any

from ares_otel.exporters.text import printable

__all__ = ["json_shown", "printable"]


def json_shown(value: Any) -> str:
    """JSON, indented; every character that a terminal may take for a command is escaped, so that it stays JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
