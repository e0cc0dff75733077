"""Which format a scraper gets: what its Accept and Accept-Encoding say."""

from __future__ import annotations

from dataclasses import dataclass

from ares_otel.model.prometheus.escaping import Escaping

OPENMETRICS_TYPE = "application/openmetrics-text"
PROTOBUF_TYPE = "application/vnd.google.protobuf"
_MESSAGES = {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"}
"""The only ones of Prometheus's protobuf formats that machines ask for."""
_TEXT_VERSIONS = ("0.0.4", "1.0.0")
_OPENMETRICS_VERSIONS = ("0.0.1", "1.0.0")
MAX_CLAUSES = 50
"""Of an Accept header; what stands behind them is not looked at."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format. Version 1.0.0 of the plain text is 0.0.4 with names in quotes."""

    openmetrics: bool = False
    version: str = "0.0.4"
    escaping: Escaping = Escaping.UNDERSCORES
    protobuf: bool = False
    """Whether it is no text but messages, each behind its length; then `openmetrics` and `version` say nothing."""

    @property
    def content_type(self) -> str:
        if self.protobuf:
            told = "; ".join(f"{name}={value}" for name, value in _MESSAGES.items())
            return f"{PROTOBUF_TYPE}; {told}; escaping={self.escaping}"
        media = OPENMETRICS_TYPE if self.openmetrics else "text/plain"
        return f"{media}; version={self.version}; charset=utf-8; escaping={self.escaping}"


@dataclass(frozen=True, slots=True)
class _Clause:
    media: str
    parameters: dict[str, str]
    q: float


def choose_format(accept: str) -> Format:
    """The first format of the highest q that there is; plain text 0.0.4 where the header names none.

    Without `escaping` names are escaped with underscores.
    """
    for clause in sorted(_clauses(accept), key=lambda clause: -clause.q):  # stable: the first of equals stays first
        if clause.q > 0 and (found := _format_of(clause)) is not None:
            return found
    return Format()


def _format_of(clause: _Clause) -> Format | None:
    version = clause.parameters.get("version", "")
    try:
        escaping = Escaping(clause.parameters.get("escaping", Escaping.UNDERSCORES))
    except ValueError:
        escaping = Escaping.UNDERSCORES
    if clause.media == PROTOBUF_TYPE and all(clause.parameters.get(name) == told for name, told in _MESSAGES.items()):
        return Format(escaping=escaping, protobuf=True)
    if clause.media == OPENMETRICS_TYPE and version in ("", *_OPENMETRICS_VERSIONS):
        return Format(True, version or "1.0.0", escaping)
    if clause.media in ("text/plain", "text/*", "*/*") and version in ("", *_TEXT_VERSIONS):
        return Format(False, version or "0.0.4", escaping)
    return None


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the answer may be compressed with gzip."""
    q = {clause.media: clause.q for clause in _clauses(accept_encoding)}
    return q.get("gzip", q.get("*", 0.0)) > 0


def _clauses(header: str) -> list[_Clause]:
    found = []
    for text in header.split(",", MAX_CLAUSES)[:MAX_CLAUSES]:
        media, *rest = (part.strip() for part in text.split(";"))
        parameters = {}
        for item in rest:
            name, _, value = item.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        if media:
            found.append(_Clause(media.lower(), parameters, _quality(parameters.pop("q", "1"))))
    return found


def _quality(text: str) -> float:
    try:
        q = float(text)
    except ValueError:
        return 0.0
    return q if 0.0 <= q <= 1.0 else 0.0
