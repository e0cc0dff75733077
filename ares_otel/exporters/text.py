"""Text that came from elsewhere, made safe for a log or a terminal."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: str, limit: int = 500) -> str:
    """The text on one line: control characters, line ends, directional marks and backslashes are escaped; what is
    longer than `limit` characters is cut."""
    cut = text[:limit]
    safe = "".join(
        character if character.isprintable() and character != "\\" else character.encode("unicode_escape").decode()
        for character in cut
    )
    return safe + ("…" if len(text) > limit else "")


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it masked: a destination may send back what it was sent."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "****")
    return text
