"""The labels `__type__` and `__unit__`, which Prometheus adds with its feature `type-and-unit-labels`: two metrics of
one name that differ in type or unit are two series then.

https://prometheus.io/docs/prometheus/latest/feature_flags/#type-and-unit-labels
"""

from __future__ import annotations

from ares_otel.model.prometheus.kinds import Kind
from ares_otel.model.prometheus.units import legal_unit, unit_words


def type_and_unit_labels(kind: Kind, unit: str, table: str) -> dict[str, str]:
    """The labels of a series; a type that is not known and an empty unit are none.

    Args:
        unit: in UCUM.
        table: version of the table of units.
    """
    words = unit_label(unit, table)
    main, per = unit_words(words, table)  # Prometheus words a unit twice: `.d.` is `d`, then `days`
    words = (f"{main}_{per}" if main and per else main or per).removeprefix("_").removesuffix("_")
    told = {"__type__": "" if kind is Kind.UNKNOWN else str(kind), "__unit__": words}
    return {name: value for name, value in told.items() if value}


def unit_label(unit: str, table: str) -> str:
    """The words of a unit, as `bytes_per_second`."""
    made = "_".join(word for word in map(legal_unit, unit_words(unit, table)) if word)
    return made.removeprefix("_").removesuffix("_")
