"""The sources of the native encoder, by what they hold.

Needs nothing but the standard library: the build runs this file before anything is installed.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

SOURCES = Path(__file__).parent / "pyx"
"""Only in a checkout; a wheel has none."""
SUFFIXES = (".pyx", ".pxi", ".pxd")


def digest_of_sources(folder: Path) -> str:
    """What tells one state of the native encoder's sources from another; the build compiles it in."""
    digest = blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES:
            data = path.read_bytes()
            digest.update(b"%s %d\n" % (path.name.encode(), len(data)))
            digest.update(data)
    return digest.hexdigest()
