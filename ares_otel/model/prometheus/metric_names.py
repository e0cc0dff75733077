"""The name of a metric in Prometheus."""

from __future__ import annotations

import re

from ares_otel.model.prometheus.config import TranslationConfig, Untranslatable
from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.units import legal_unit, unit_words

_NO_TOKEN = re.compile(r"[^a-zA-Z0-9:]+")
_NO_NAME = re.compile(r"[^a-zA-Z0-9:_]+")
_DIGITS = "0123456789"


def metric_name(name: str, unit: str, kind: Kind, config: TranslationConfig) -> str:
    """The name for a metric of OTLP.

    Args:
        unit: in UCUM, as OTLP has it.
        kind: as it is in Prometheus: a monotonic sum is a counter, another sum a gauge.

    Raises:
        Untranslatable: nothing is left of the name.
    """
    strategy = config.translation_strategy
    if not strategy.escapes:
        made = _with_suffixes(name, unit, kind, config.unit_table) if strategy.adds_suffixes else name
        if not made:
            raise Untranslatable("The metric has no name.")
        return made
    if strategy.adds_suffixes:
        made = "_".join(_tokens(name, unit, kind, config.unit_table))
    else:
        made = "_".join(part for part in _NO_NAME.split(name) if part)
    if made[:1] in _DIGITS and made:
        made = f"_{made}"
    if not made or (made != name and not made.strip("_")):
        raise Untranslatable(f"Nothing is left of the metric's name {name[:100]!r}, for its characters are illegal.")
    return made


def _tokens(name: str, unit: str, kind: Kind, table: str) -> list[str]:
    """Name, unit and type as words; joined by underscores they are the name."""
    tokens = [token for token in _NO_TOKEN.split(name) if token]
    main, per = map(legal_unit, unit_words(unit, table))
    if main in tokens:
        main = ""
    per = "" if per == "per_" else per.removesuffix("_")
    if per in tokens:
        # Never true, for tokens have no underscore: a name that ends in `per_second` gets it again, as in Prometheus.
        per = ""
    if per:
        main = main.removesuffix("_")
    tokens += [word for word in (main, per) if word]
    if kind is Kind.COUNTER:
        tokens = [token for token in tokens if token != "total"] + ["total"]
    if unit == "1" and kind is Kind.GAUGE:
        tokens = [token for token in tokens if token != "ratio"] + ["ratio"]
    return tokens


def _with_suffixes(name: str, unit: str, kind: Kind, table: str) -> str:
    """The name as it is, then unit, per unit and type, each once."""
    behind = ""
    if unit == "1" and kind is Kind.GAUGE:
        name, behind = _without(name, "ratio"), "_ratio"
    if kind is Kind.COUNTER:
        name, behind = _without(name, "total"), "_total"
    main, per = unit_words(unit, table)
    if per:
        name, behind = _without(name, per), f"_{per}{behind}"
    if main and not name.endswith(main):
        name = f"{name}_{main}"
    return name + behind


def _without(name: str, suffix: str) -> str:
    """The name without a suffix and the one character before it, whatever that is."""
    return name[: -len(suffix) - 1] if name.endswith(suffix) and len(name) > len(suffix) + 1 else name
