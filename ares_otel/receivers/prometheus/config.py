"""Options of the `prometheus` receiver: below `config`, those of Prometheus's own configuration file.

Source: OpenTelemetry Collector, receiver/prometheusreceiver; prometheus.io, "Configuration", `<scrape_config>`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ares_otel.pipeline.component import ComponentConfig
from ares_otel.receivers.prometheus.http_options import HttpOptions, SecretsConfig
from ares_otel.receivers.prometheus.relabel import RelabelConfig
from ares_otel.receivers.prometheus.units import PrometheusDuration, Size

DEFAULT_BODY_BYTES = 64 * 1024 * 1024
SHORTEST_SECONDS = 0.01
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ADDRESS = re.compile(r"[^\s/?#@\\]{1,300}")

Protocol = Literal[
    "PrometheusProto", "OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"
]
TEXT_PROTOCOLS: tuple[Protocol, ...] = (
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for name, value in labels.items():
        if not _LABEL.fullmatch(name) or name == "__name__":
            raise ValueError(f"{name[:50]!r} cannot be the name of a label here")
        if len(value) > 4096:
            raise ValueError(f"the value of {name[:50]} is longer than 4096 characters")
    return labels


def _addresses(targets: tuple[str, ...]) -> tuple[str, ...]:
    for target in targets:
        if not _ADDRESS.fullmatch(target):
            raise ValueError(f"{target[:100]!r} is not a target; write host:port, without http:// and without a path")
    return targets


Labels = Annotated[dict[str, str], Field(max_length=100), AfterValidator(_labels)]


class StaticConfig(ComponentConfig):
    """Targets that are named here."""

    targets: Annotated[tuple[str, ...], Field(max_length=10_000), AfterValidator(_addresses)] = Field(
        default=(), description="`host:port` of each."
    )
    labels: Labels = Field(default={}, description="Labels that all series of these targets get.")


class RegistrySdConfig(ComponentConfig):
    """Targets out of `service_registry`. Ares's own section; Prometheus has none of this name."""

    refresh_interval: PrometheusDuration = Field(
        default=30.0, description="How often the registry is looked at.", ge=1.0
    )
    include_offline: bool = Field(default=False, description="Whether services whose status is offline are asked too.")


class GlobalConfig(ComponentConfig):
    """`global`: what holds where a scrape configuration says nothing."""

    scrape_interval: PrometheusDuration = Field(
        default=60.0, description="From one scrape to the next.", ge=SHORTEST_SECONDS
    )
    scrape_timeout: PrometheusDuration = Field(
        default=10.0, description="How long a scrape may take; at most the interval.", ge=SHORTEST_SECONDS
    )
    external_labels: Labels = Field(default={}, description="Labels that every series gets which has none of the name.")


class ScrapeConfig(HttpOptions):
    """One job."""

    job_name: str = Field(min_length=1, max_length=1000, description="The label `job`, unless relabelling changes it.")
    scrape_interval: PrometheusDuration | None = Field(
        default=None, description="From one scrape to the next; `global.scrape_interval` when not set."
    )
    scrape_timeout: PrometheusDuration | None = Field(
        default=None,
        description="How long a scrape may take; `global.scrape_timeout` when not set, or the interval where that is"
        " shorter.",
    )
    metrics_path: str = Field(default="/metrics", max_length=2000, description="Path of the page.")
    scheme: Literal["http", "https"] = Field(default="http", description="How targets are asked.")
    params: dict[str, tuple[str, ...]] = Field(default={}, max_length=100, description="Parameters of the URL.")
    honor_labels: bool = Field(
        default=False,
        description="Whether labels of the page win over the target's; else they are called `exported_…`.",
    )
    honor_timestamps: bool = Field(
        default=True, description="Whether times on the page count; else all samples have the scrape's."
    )
    track_timestamps_staleness: bool = Field(
        default=False, description="Whether series with times on the page are ended too when they are gone from it."
    )
    scrape_protocols: tuple[Protocol, ...] = Field(
        default=(),
        max_length=5,
        description="Formats that are asked for, the best first; when not set, the text formats, with native"
        " histograms protobuf before them.",
    )
    fallback_scrape_protocol: Protocol | None = Field(
        default=None, description="How a page is read whose Content-Type says nothing; else such a scrape fails."
    )
    scrape_native_histograms: bool = Field(
        default=False, description="Whether native histograms are taken, instead of classic ones where both are there."
    )
    always_scrape_classic_histograms: bool = Field(
        default=False, description="Whether the classic one is taken too where both are there."
    )
    body_size_limit: Size = Field(
        default=DEFAULT_BODY_BYTES,
        ge=0,
        description="Largest page, inflated; a larger one fails the scrape. 0: as large as the memory for requests.",
    )
    sample_limit: int = Field(
        default=0, ge=0, description="Most samples after relabelling; more fail the scrape. 0: no limit."
    )
    label_limit: int = Field(default=0, ge=0, description="Most labels of a sample, its name among them. 0: no limit.")
    label_name_length_limit: int = Field(default=0, ge=0, description="Longest name of a label, bytes. 0: no limit.")
    label_value_length_limit: int = Field(default=0, ge=0, description="Longest value of a label, bytes. 0: no limit.")
    target_limit: int = Field(
        default=0,
        ge=0,
        description="Most targets after relabelling: with more named ones the configuration does not start, with more"
        " registered ones those known stay. 0: no limit.",
    )
    static_configs: tuple[StaticConfig, ...] = Field(
        default=(), max_length=1000, description="Targets that are named here."
    )
    ares_registry_sd_configs: tuple[RegistrySdConfig, ...] = Field(
        default=(), max_length=1, description="Targets that registered themselves at Ares; `[{}]` for all defaults."
    )
    relabel_configs: tuple[RelabelConfig, ...] = Field(
        default=(), max_length=1000, description="Rules for the labels of targets, before they are asked."
    )
    metric_relabel_configs: tuple[RelabelConfig, ...] = Field(
        default=(), max_length=1000, description="Rules for the labels of samples, before they are stored."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("scrape_interval", "scrape_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and seconds < SHORTEST_SECONDS:
                raise ValueError(f"{name} must be at least 10ms")
        if len(set(self.scrape_protocols)) < len(self.scrape_protocols):
            raise ValueError("scrape_protocols names a format twice")
        if self.scrape_native_histograms and self.scrape_protocols and "PrometheusProto" not in self.scrape_protocols:
            raise ValueError("scrape_native_histograms needs PrometheusProto among scrape_protocols")
        if not self.metrics_path.startswith("/"):
            raise ValueError("metrics_path must begin with /")
        return self

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The formats that are asked for, the best first."""
        if self.scrape_protocols:
            return self.scrape_protocols
        return ("PrometheusProto", *TEXT_PROTOCOLS) if self.scrape_native_histograms else TEXT_PROTOCOLS


class ScrapingConfig(ComponentConfig):
    """`config`: the part of Prometheus's configuration that is about scraping."""

    global_: GlobalConfig = Field(default=GlobalConfig(), alias="global", description="What holds for all jobs.")
    scrape_configs: tuple[ScrapeConfig, ...] = Field(min_length=1, max_length=1000, description="The jobs.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [one.job_name for one in self.scrape_configs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two scrape_configs have the job_name {name[:100]!r}; each needs its own")
        if (
            self.global_.scrape_timeout > self.global_.scrape_interval
            and "scrape_timeout" in self.global_.model_fields_set
        ):
            raise ValueError("global.scrape_timeout is longer than global.scrape_interval")
        for one in self.scrape_configs:
            if one.scrape_timeout is not None and one.scrape_timeout > self.interval(one):
                raise ValueError(f"scrape_timeout of the job {one.job_name[:100]!r} is longer than its scrape_interval")
        return self

    def interval(self, job: ScrapeConfig) -> float:
        """Seconds from one scrape of a job to the next."""
        return job.scrape_interval or self.global_.scrape_interval

    def timeout(self, job: ScrapeConfig) -> float:
        """Seconds that a scrape of a job may take."""
        return min(job.scrape_timeout or self.global_.scrape_timeout, self.interval(job))


class PrometheusReceiverConfig(SecretsConfig):
    """`receivers.prometheus`"""

    config: ScrapingConfig = Field(description="Prometheus's own options.")
    max_concurrent_scrapes: int = Field(
        default=200, ge=1, le=10_000, description="Scrapes under way at once; further ones wait for a place."
    )
