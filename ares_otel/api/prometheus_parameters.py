"""Query of `/metrics/ingested`: filters, and the options of Prometheus's section `otlp` by the same names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ares_otel.api.parameters import Exact, NoParameters, read_by
from ares_otel.api.problems import FieldError, InvalidParameters
from ares_otel.model.prometheus.config import Strategy, TranslationConfig
from ares_otel.model.prometheus.negotiation import Format
from ares_otel.model.prometheus.selector import InvalidSelector, Selector, parse_selector
from ares_otel.query.ingested import MAX_SERIES, Wanted

MAX_REPEATED = 100


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= MAX_SERIES):
        raise ValueError(f"must be a whole number from 1 to {MAX_SERIES}")
    return int(text)


def _strategy(text: str) -> Strategy:
    if text not in tuple(Strategy):
        raise ValueError(f"must be one of {', '.join(Strategy)}")
    return Strategy(text)


def _few(values: list[str]) -> list[str]:
    if len(values) > MAX_REPEATED:
        raise PydanticCustomError("parameter", "Give it {most} times at most.", {"most": MAX_REPEATED})
    return values


Limit = Annotated[int | None, read_by(_limit)]
ChosenStrategy = Annotated[Strategy, read_by(_strategy)]
Texts = Annotated[list[str], AfterValidator(_few)]


class IngestedParameters(NoParameters):
    """Query of `/metrics/ingested`."""

    name: Texts = Field([], alias="name[]")
    match: Texts = Field([], alias="match[]")
    limit: Limit = None
    timestamps: Exact = False
    translation_strategy: ChosenStrategy = Strategy.UNDERSCORES_WITH_SUFFIXES
    promote_resource_attributes: Texts = Field([])
    promote_all_resource_attributes: Exact = False
    ignore_resource_attributes: Texts = Field([])
    keep_identifying_resource_attributes: Exact = False
    promote_scope_metadata: Exact = True
    """Unlike Prometheus's: without it two scopes with one metric have the same labels, and one is left out."""
    label_name_underscore_sanitization: Exact = True
    label_name_preserve_multiple_underscores: Exact = True
    type_and_unit_labels: Exact = False
    unit_table: str = "1.0.0"


_FILTERS = ("name", "match", "limit", "timestamps")


def wanted_of(query: IngestedParameters, format_: Format) -> Wanted:
    """What the parameters ask for. Raises InvalidParameters."""
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in query.model_dump(exclude=set(_FILTERS)).items()
    }
    try:
        config = TranslationConfig(**options)
    except ValueError as error:
        name = str(error).split()[0] if str(error).split()[0] in options else "unit_table"
        raise InvalidParameters(FieldError(name, str(error))) from None
    return Wanted(
        config,
        format_,
        frozenset(query.name),
        tuple(_selector(text) for text in query.match),
        query.limit,
        query.timestamps,
    )


def _selector(text: str) -> Selector:
    try:
        return parse_selector(text)
    except InvalidSelector as error:
        raise InvalidParameters(FieldError("match[]", f"The value {error}.")) from None
