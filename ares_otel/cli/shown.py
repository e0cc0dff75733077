"""Values that came from senders, as text for a terminal: nothing in them steers it or forges a line."""

from __future__ import annotations

import json
import re
from typing import Any

from ares_otel.exporters.text import printable

__all__ = ["inert_json", "json_shown", "printable"]

_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON writes as it is, and a terminal may take for a command or for the direction of the text."""


def json_shown(value: Any) -> str:
    """JSON, indented; every character that a terminal may take for a command is escaped, so that it stays JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def inert_json(text: str) -> str:
    """The same JSON with escapes for what may steer a terminal."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
