"""The name of a label for a key of an attribute."""

from __future__ import annotations

import re

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable

_INVALID = re.compile(r"[^a-zA-Z0-9_]")
_RUNS = re.compile(r"[^a-zA-Z0-9]+")
_DIGITS = "0123456789"


def label_name(key: str, config: TranslationConfig) -> str:
    """The label's name.

    Raises:
        Untranslatable: nothing but underscores is left of the key.
    """
    made = _escaped(key, config) if config.translation_strategy.escapes else key
    if not made.strip("_"):
        raise Untranslatable(f"Nothing is left of the attribute's name {key[:100]!r} without illegal characters.")
    return made


def _escaped(key: str, config: TranslationConfig) -> str:
    made = _INVALID.sub("_", key) if config.label_name_preserve_multiple_underscores else _collapsed(key)
    if made[:1] in _DIGITS and made:
        made = f"key_{made}"
    elif config.label_name_underscore_sanitization and made.startswith("_") and not made.startswith("__"):
        made = f"key{made}"
    return made


def _collapsed(key: str) -> str:
    """Each run of underscores and illegal characters as one underscore; those around a reserved name stay (`__x__`)."""
    if len(key) >= 4 and key.startswith("__") and key.endswith("__"):
        return f"__{_RUNS.sub('_', key[2:-2])}__"
    return _RUNS.sub("_", key)
