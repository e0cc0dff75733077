"""Options of the scraping receiver, and the targets that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ares_otel.cli.components import COMPONENTS
from ares_otel.pipeline.load import load_bytes
from ares_otel.pipeline.problem import ConfigError
from ares_otel.receivers.prometheus.config import PrometheusReceiverConfig, ScrapingConfig
from ares_otel.receivers.prometheus.target import Target, WrongTarget, targets_of
from ares_otel.receivers.prometheus.units import parse_duration, parse_size

SECRET = "canary-5f3a"


def scraping(job: dict[str, Any] | None = None, **more: Any) -> ScrapingConfig:
    return ScrapingConfig(scrape_configs=({"job_name": "app", **(job or {})},), **more)


def targets(job: dict[str, Any], found: list[dict[str, str]] | None = None, **more: Any) -> list[Target]:
    config = scraping(job, **more)
    return targets_of(config, config.scrape_configs[0], found or (), discovered=found is not None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("1m30s", 90), ("1h", 3600), ("500ms", 0.5), ("1d2h", 93600), ("1w", 604800)]
)
def test_durations_are_prometheus_s(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "s", "1.5s", "30s1m", "-1s", "1 s", "900y", 15, None])
def test_what_is_no_duration_is_said(text: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|year"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("10MB", 10 * 2**20), ("1KiB", 1024), ("0", 0), (0, 0), ("7B", 7)])
def test_sizes_are_prometheus_s(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"nonsense": 1}, "Extra inputs"),
        ({"job_name": ""}, "at least 1"),
        ({"scrape_timeout": "2m"}, "longer than its scrape_interval"),
        ({"scrape_interval": "1ms"}, "at least 10ms"),
        ({"body_size_limit": "big"}, "not a size"),
        ({"scheme": "ftp"}, "http"),
        ({"metrics_path": "metrics"}, "must begin with /"),
        ({"static_configs": [{"targets": ["http://a:1/metrics"]}]}, "without http://"),
        ({"static_configs": [{"targets": ["a:1"], "labels": {"__name__": "x"}}]}, "cannot be the name of a label"),
        ({"scrape_protocols": ["PrometheusText0.0.4", "PrometheusText0.0.4"]}, "twice"),
        ({"scrape_native_histograms": True, "scrape_protocols": ["PrometheusText0.0.4"]}, "needs PrometheusProto"),
        ({"basic_auth": {"username": "a"}, "authorization": {"credentials": "b"}}, "not both"),
        ({"basic_auth": {"password": "a", "password_file": "b"}}, "not both"),
        ({"authorization": {}}, "one of them"),
        ({"authorization": {"type": "Basic", "credentials": "a"}}, "there is basic_auth"),
        ({"http_headers": {"Host": {"values": ["a"]}}}, "set by the scrape itself"),
        ({"tls_config": {"cert_file": "a"}}, "belong together"),
        ({"kubernetes_sd_configs": []}, "Extra inputs"),
    ],
)
def test_an_option_that_cannot_be_is_an_error(job: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        scraping(job)


def test_two_jobs_of_one_name_are_an_error() -> None:
    with pytest.raises(ValidationError, match="each needs its own"):
        ScrapingConfig(scrape_configs=({"job_name": "a"}, {"job_name": "a"}))


def test_a_file_with_an_unknown_option_is_refused_with_its_name() -> None:
    text = b"""
receivers:
  prometheus:
    config:
      scrape_configs:
        - job_name: app
          static_config: [{targets: ["a:1"]}]
exporters: {debug: }
service: {pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
"""
    with pytest.raises(ConfigError, match=r"static_config: unknown option; did you mean .?static_configs"):
        load_bytes(text, "a.yaml", COMPONENTS, {})


def test_a_secret_stands_in_no_error_and_in_no_representation() -> None:
    auth = {"basic_auth": {"username": "a", "password": SECRET}}
    assert SECRET not in repr(scraping({**auth, "authorization": None}))
    assert SECRET not in repr(scraping({"http_headers": {"X-Key": {"secrets": [SECRET]}}}))
    for wrong in (
        {"basic_auth": {"username": "a", "password": [SECRET]}},
        {"authorization": {"credentials": SECRET, "credentials_file": "b"}},
        {**auth, "scheme": "ftp"},
    ):
        with pytest.raises(ValidationError) as caught:
            PrometheusReceiverConfig(config={"scrape_configs": [{"job_name": "a", **wrong}]})
        shown = [detail["msg"] for detail in caught.value.errors()]
        assert SECRET not in str(shown)


def test_a_secret_of_a_file_stands_in_no_error() -> None:
    text = b"""
receivers:
  prometheus:
    config:
      scrape_configs:
        - job_name: app
          basic_auth: {username: [], password: 77015533}
          authorization: {type: 77015533, credentials: 77015533}
          http_headers: {X: {secrets: 77015533}}
          scrape_interval: 77015533
exporters: {debug: }
service: {pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
"""
    with pytest.raises(ConfigError) as caught:
        load_bytes(text, "a.yaml", COMPONENTS, {})
    assert "username" in str(caught.value)
    assert "scrape_interval" in str(caught.value)
    assert str(caught.value).count("77015533") == 1, "the interval, which is none"


def test_a_configuration_that_is_read_again_is_the_same() -> None:
    """Then SIGHUP leaves the receiver alone."""
    job = {
        "basic_auth": {"username": "a", "password": SECRET},
        "relabel_configs": [{"source_labels": ["a"], "regex": "(b|c).*", "target_label": "d"}],
    }
    assert scraping(job) == scraping(job)
    assert scraping(job) != scraping({**job, "basic_auth": {"username": "a", "password": "b"}})


def test_a_static_target_has_the_labels_of_its_group_and_of_its_job() -> None:
    [one, two] = targets({"static_configs": [{"targets": ["a:1", "b:2"], "labels": {"env": "prod"}}]})
    assert one.url == "http://a:1/metrics"
    assert dict(one.labels) == {"job": "app", "instance": "a:1", "env": "prod"}
    assert dict(two.labels)["instance"] == "b:2"
    assert (one.interval, one.timeout) == (60, 10)
    assert one.hash != two.hash


def test_a_target_that_is_named_twice_is_scraped_once() -> None:
    assert len(targets({"static_configs": [{"targets": ["a:1", "a:1"]}, {"targets": ["a:1"]}]})) == 1


def test_parameters_and_odd_paths_make_a_url() -> None:
    job = {
        "scheme": "https",
        "metrics_path": "/probe me?debug=1",
        "params": {"module": ["http 2xx", "b"], "target": ["x"]},
        "static_configs": [{"targets": ["[::1]:9"]}],
    }
    [target] = targets(job)
    assert target.url == "https://[::1]:9/probe%20me?debug=1&module=http+2xx&module=b&target=x"


def test_relabelling_decides_about_targets() -> None:
    """The usual configuration of the blackbox exporter."""
    rules = [
        {"source_labels": ["__address__"], "target_label": "__param_target"},
        {"source_labels": ["__param_target"], "target_label": "instance"},
        {"target_label": "__address__", "replacement": "127.0.0.1:9115"},
        {"target_label": "__scrape_interval__", "replacement": "5s"},
        {"target_label": "__scrape_timeout__", "replacement": "1500ms"},
        {"source_labels": ["instance"], "regex": ".*unwanted.*", "action": "drop"},
        {"source_labels": ["job"], "target_label": "job", "replacement": "probes"},
    ]
    job = {
        "metrics_path": "/probe",
        "static_configs": [{"targets": ["example.com:80", "unwanted:1"]}],
        "relabel_configs": rules,
    }
    [target] = targets(job)
    assert target.url == "http://127.0.0.1:9115/probe?target=example.com%3A80"
    assert dict(target.labels) == {"job": "probes", "instance": "example.com:80"}
    assert (target.interval, target.timeout) == (5.0, 1.5)


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("__scheme__", "file", "neither http nor https"),
        ("__address__", "a/b", "not host:port"),
        ("__address__", "user@a:1", "not host:port"),
        ("__address__", "a:99999", "not host:port"),
        ("__scrape_interval__", "soon", "not a duration"),
        ("__scrape_interval__", "1s", "is longer than"),
        ("__scrape_interval__", "1ms", "longer than|shorter than"),
    ],
)
def test_a_rule_that_makes_an_impossible_target_is_an_error(label: str, value: str, message: str) -> None:
    rules = [{"target_label": label, "replacement": value}]
    with pytest.raises(WrongTarget, match=message):
        targets({"static_configs": [{"targets": ["a:1"]}], "relabel_configs": rules})


def test_what_was_discovered_has_its_own_job_and_instance() -> None:
    found = {
        "__address__": "10.0.0.1:80",
        "job": "orders",
        "instance": "orders-7",
        "__metrics_path__": "/m",
        "__meta_x": "1",
    }
    rules = [{"source_labels": ["__meta_x"], "target_label": "x"}]
    [target] = targets({"relabel_configs": rules}, [found])
    assert target.url == "http://10.0.0.1:80/m"
    assert dict(target.labels) == {"job": "orders", "instance": "orders-7", "x": "1"}
    assert target.discovered


def test_the_example_of_the_page_is_the_recipe() -> None:
    recipe = (Path(__file__).parents[2] / "collector" / "scrape.yaml").read_bytes()
    config = load_bytes(recipe, "scrape.yaml", COMPONENTS, {})
    assert "prometheus" in config.receivers
