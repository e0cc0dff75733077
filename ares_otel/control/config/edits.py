"""What can be asked to be changed, and under which condition. Checked here, the same for REST and the command line."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from ares_otel.control.config.errors import InvalidSetting, PreconditionFailed
from ares_otel.control.config.schema import problem_of
from ares_otel.control.config.values import text_problem

MAX_SERVICE = 255
MAX_KEY = 500
MAX_NAMES_BYTES = 2500
"""Of service and key together: both stand in one index entry."""
MAX_WHO = 200
MAX_TEXT = 2000
"""Characters of a reason or a description."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and why."""

    updated_by: str
    reason: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidSetting for a name of no or too many characters, or a reason that cannot be stored."""
        check_who("updated_by", self.updated_by)
        check_text("reason", self.reason)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for an edit to happen."""

    versions: Collection[int] | None = None
    """The present version must be one of these (If-Match)."""
    exists: bool | None = None
    """The setting must be there (If-Match: *), or must not (If-None-Match: *)."""

    def check(self, version: int | None) -> None:
        """`version` is None where there is no such setting. Raises PreconditionFailed."""
        if self.exists is not None and self.exists != (version is not None):
            raise PreconditionFailed(
                "The setting does not exist." if self.exists else f"The setting exists already, with version {version}."
            )
        if self.versions is not None and version not in self.versions:
            now = "the setting does not exist" if version is None else f"it has version {version} now"
            raise PreconditionFailed(f"Somebody was faster: {now}. Read it again and decide anew.")


ALWAYS = Condition()
Outcome = Literal["created", "changed", "unchanged"]


def check_names(service: str, key: str = "x") -> None:
    """Raises InvalidSetting for names that no setting may have."""
    for field, text, most in (("service", service, MAX_SERVICE), ("key", key, MAX_KEY)):
        if not 1 <= len(text) <= most:
            raise InvalidSetting(field, f"The name must have 1 to {most} characters.")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            raise InvalidSetting(field, "The name must not contain control characters.")
    if len(service.encode()) + len(key.encode()) > MAX_NAMES_BYTES:
        raise InvalidSetting("key", f"Service and key together may have {MAX_NAMES_BYTES} bytes in UTF-8.")


def check_who(field: str, who: str) -> None:
    """Raises InvalidSetting for what is no name of somebody."""
    if not who.strip() or len(who) > MAX_WHO:
        raise InvalidSetting(field, f"The value must be a name of 1 to {MAX_WHO} characters.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in who):
        raise InvalidSetting(field, "The value must not contain control characters.")


def check_text(field: str, text: str | None) -> None:
    """Raises InvalidSetting for a text that is too long or that PostgreSQL cannot hold."""
    if text is None:
        return
    if len(text) > MAX_TEXT:
        raise InvalidSetting(field, f"The text may have {MAX_TEXT} characters.")
    if problem := text_problem(text):
        raise InvalidSetting(field, f"The text {problem}.")


def check_value(service: str, key: str, value: Any) -> None:
    """Raises InvalidSetting where Ares knows the setting and the value is not what it may hold."""
    if problem := problem_of(service, key, value):
        raise InvalidSetting("value", problem)
