"""The identity of a spool directory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import UUID

from ares_otel.model.signal import SIGNALS
from ares_otel.storage.spool import files
from ares_otel.storage.spool.format import HEADER_BYTES, BadBytes, decode_header


def read_id(directory: Path) -> UUID | None:
    """As its file says; when that is damaged or away, as the first segment with a right header says. None when nothing
    says it."""
    with suppress(OSError, ValueError):
        return UUID((directory / files.ID).read_text("ascii").strip())
    paths = [
        directory / name / files.file_name(number)
        for name in SIGNALS
        for number in files.list_signal(directory / name).segments
    ]
    paths += [one.path for one in files.list_quarantine(directory)]
    for path in paths:
        with suppress(OSError, BadBytes), path.open("rb") as file:
            return decode_header(file.read(HEADER_BYTES)).spool
    return None
