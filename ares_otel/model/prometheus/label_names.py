"""The name of a label for a key of an attribute."""

from __future__ import annotations

import re

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable

_INVALID = re.compile(r"[^a-zA-Z0-9_]")
_UNDERSCORES = re.compile(r"__+")
_DIGITS = "0123456789"


def label_name(key: str, config: TranslationConfig) -> str:
    """The label's name.

    Raises:
        Untranslatable: nothing is left of the key.
    """
    if not config.translation_strategy.escapes:
        if not key:
            raise Untranslatable("An attribute has no name.")
        return key
    made = _INVALID.sub("_", key)
    if not config.label_name_preserve_multiple_underscores:
        made = _collapsed(made)
    if made[:1] in _DIGITS and made:
        made = f"key_{made}"
    elif config.label_name_underscore_sanitization and made.startswith("_") and not made.startswith("__"):
        made = f"key{made}"
    if not made or (made != key and not made.strip("_")):
        raise Untranslatable(f"Nothing is left of the attribute's name {key[:100]!r} without illegal characters.")
    return made


def _collapsed(name: str) -> str:
    """Each run of underscores as one; those around a reserved name (`__name__`) stay."""
    if len(name) > 4 and name.startswith("__") and name.endswith("__"):
        return f"__{_UNDERSCORES.sub('_', name[2:-2])}__"
    return _UNDERSCORES.sub("_", name)
