"""Targets: what a job asks, and how relabelling decides about it.

Source: prometheus.io, "Configuration", `<scrape_config>` and `<relabel_config>`: the labels that begin with `__`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from ares_otel.receivers.prometheus.config import SHORTEST_SECONDS, ScrapeConfig, ScrapingConfig
from ares_otel.receivers.prometheus.page import Pairs
from ares_otel.receivers.prometheus.relabel import Labels, relabel
from ares_otel.receivers.prometheus.units import parse_duration

ADDRESS, SCHEME, PATH = "__address__", "__scheme__", "__metrics_path__"
INTERVAL, TIMEOUT, PARAM = "__scrape_interval__", "__scrape_timeout__", "__param_"


class WrongTarget(ValueError):
    """Relabelling made a target that cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A page that is scraped."""

    job_name: str
    """Of the scrape configuration; the label `job` may be another."""
    url: str
    labels: Pairs
    """What its series get, sorted."""
    interval: float
    timeout: float
    discovered: bool = False
    """Whether somebody registered it: then it may not lead to where registered addresses may not."""

    @property
    def hash(self) -> int:
        """The same wherever and whenever the target is met."""
        text = "\0".join([self.job_name, self.url, *(part for pair in self.labels for part in pair)])
        return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def targets_of(
    config: ScrapingConfig, job: ScrapeConfig, found: Iterable[Mapping[str, str]] = (), *, discovered: bool = False
) -> list[Target]:
    """The targets of a job that relabelling keeps, each once.

    Args:
        found: labels of each target, `__address__` among them; the job's static ones are not looked at then.

    Raises:
        WrongTarget: a rule makes one that cannot be asked, or there are more than `target_limit`.
    """
    made: dict[Target, None] = {}
    for labels in found if discovered else _static(job):
        target = _target(config, job, labels, discovered=discovered)
        if target is not None:
            made[target] = None
    return list(made)


def _static(job: ScrapeConfig) -> Iterable[Labels]:
    for group in job.static_configs:
        for address in group.targets:
            yield {**group.labels, ADDRESS: address}


def _target(config: ScrapingConfig, job: ScrapeConfig, found: Mapping[str, str], *, discovered: bool) -> Target | None:
    labels: Labels = {
        "job": job.job_name,
        SCHEME: job.scheme,
        PATH: job.metrics_path,
        INTERVAL: _written(config.interval(job)),
        TIMEOUT: _written(config.timeout(job)),
        **{f"{PARAM}{name}": values[0] for name, values in job.params.items() if values},
        **found,
    }
    made = relabel(labels, job.relabel_configs)
    if made is None or not (address := made.get(ADDRESS)):
        return None
    shown = made.get("instance", address)[:100]
    interval, timeout = _seconds(made, INTERVAL, shown), _seconds(made, TIMEOUT, shown)
    if timeout > interval:
        raise WrongTarget(f"{TIMEOUT} of {shown!r} is longer than {INTERVAL}")
    url = _url(job, made, address, shown)
    kept = {name: value for name, value in made.items() if not name.startswith("__")}
    kept.setdefault("instance", address)
    return Target(job.job_name, url, tuple(sorted(kept.items())), interval, timeout, discovered)


def _url(job: ScrapeConfig, labels: Labels, address: str, shown: str) -> str:
    scheme, path = labels.get(SCHEME, "http"), labels.get(PATH, "/")
    if scheme not in ("http", "https"):
        raise WrongTarget(f"{SCHEME} of {shown!r} is neither http nor https")
    if any(character in address for character in "/?#@\\ ") or not address.isprintable():
        raise WrongTarget(f"{ADDRESS} of {shown!r} is not host:port")
    params = {name: list(values) for name, values in job.params.items()}
    for name, value in labels.items():
        if name.startswith(PARAM):
            values = params.setdefault(name.removeprefix(PARAM), [])
            values[:1] = [value]
    path, _, query = path.partition("?")
    pairs = [(name, value) for name in sorted(params) for value in params[name]]
    query = "&".join(part for part in (query, urlencode(pairs)) if part)
    url = f"{scheme}://{address}/{quote(path.lstrip('/'), safe='/%:@!$&()*+,;=~-._')}" + (f"?{query}" if query else "")
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise WrongTarget(f"{ADDRESS} of {shown!r} is not host:port") from None
    return url


def _seconds(labels: Labels, name: str, shown: str) -> float:
    try:
        seconds = parse_duration(labels.get(name, ""))
    except ValueError as error:
        raise WrongTarget(f"{name} of {shown!r}: {error}") from None
    assert isinstance(seconds, float)
    if seconds < SHORTEST_SECONDS:
        raise WrongTarget(f"{name} of {shown!r} is shorter than 10ms")
    return seconds


def _written(seconds: float) -> str:
    """A duration as the configuration has it."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
