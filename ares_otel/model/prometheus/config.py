"""How OTLP becomes Prometheus: the options of the section `otlp` of Prometheus's configuration, by the same names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ares_otel.model.prometheus.units import UNIT_TABLES


class Strategy(StrEnum):
    """`translation_strategy`: whether names are escaped, and whether they get suffixes of unit and type."""

    UNDERSCORES_WITH_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    UNDERSCORES = "UnderscoreEscapingWithoutSuffixes"
    UTF8_WITH_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    NONE = "NoTranslation"

    @property
    def escapes(self) -> bool:
        """Whether names become `[a-zA-Z0-9_:]`."""
        return self in (Strategy.UNDERSCORES_WITH_SUFFIXES, Strategy.UNDERSCORES)

    @property
    def adds_suffixes(self) -> bool:
        """Whether unit and type are appended."""
        return self in (Strategy.UNDERSCORES_WITH_SUFFIXES, Strategy.UTF8_WITH_SUFFIXES)


@dataclass(frozen=True, slots=True)
class TranslationConfig:
    """Defaults are Prometheus's.

    Raises:
        ValueError: options that exclude each other; the message is a sentence.
    """

    translation_strategy: Strategy = Strategy.UNDERSCORES_WITH_SUFFIXES
    promote_resource_attributes: tuple[str, ...] = ()
    """Resource attributes that every series carries as labels."""
    promote_all_resource_attributes: bool = False
    ignore_resource_attributes: tuple[str, ...] = ()
    """With `promote_all_resource_attributes`: all but these."""
    keep_identifying_resource_attributes: bool = False
    """Whether `target_info` also has service.name, service.namespace and service.instance.id."""
    promote_scope_metadata: bool = False
    """Whether every series carries `otel_scope_name`, `_version`, `_schema_url` and the scope's attributes."""
    label_name_underscore_sanitization: bool = True
    """Whether a label that would begin with one underscore begins with `key_`."""
    label_name_preserve_multiple_underscores: bool = True
    external_labels: tuple[tuple[str, str], ...] = ()
    """Labels that a series gets where it has none of that name."""
    type_and_unit_labels: bool = False
    """Whether every series carries `__type__` and `__unit__`, as with Prometheus's feature of that name."""
    unit_table: str = "1.0.0"
    """Version of the table of units, see `units`."""

    def __post_init__(self) -> None:
        if self.promote_all_resource_attributes and self.promote_resource_attributes:
            raise ValueError(
                "promote_all_resource_attributes and promote_resource_attributes exclude each other; give one of them."
            )
        if self.ignore_resource_attributes and not self.promote_all_resource_attributes:
            raise ValueError("ignore_resource_attributes needs promote_all_resource_attributes=true.")
        if self.unit_table not in UNIT_TABLES:
            raise ValueError(f"There is no table of units {self.unit_table}; use one of {', '.join(UNIT_TABLES)}.")


class Untranslatable(ValueError):
    """A name that has no form in Prometheus; what has it is left out. The message is a sentence."""
