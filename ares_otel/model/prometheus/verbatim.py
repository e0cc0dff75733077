"""Series that came as Prometheus has them: by remote write, or from a page that was scraped.

They are stored as metrics of OTLP like all others, so SQL, REST and every exporter see them. Their scope says that name
and attributes are Prometheus's own already: a reader that speaks Prometheus takes them as they are, and neither
translates nor adds anything, so that the same series comes out that came in. The attributes are all its labels but
`__name__`, `job` and `instance` among them; the resource repeats those as `service.name`, `service.namespace` and
`service.instance.id` for those who ask by service.
"""

from __future__ import annotations

SCOPE_NAME = "ares_otel.prometheus"
"""Name of the scope of such series."""
METADATA_TYPE = "prometheus.type"
"""Key in `Metric.metadata`: the type as Prometheus named it (`counter`, `gauge`, `histogram`, `gaugehistogram`,
`summary`, `info`, `stateset`, `unknown`), as the Collector's receivers write it."""
METADATA_BUCKETS = "prometheus.buckets"
"""Key in `Metric.metadata`: `CUSTOM` for a histogram that was a native one with custom buckets (schema -53). Without it
a histogram was a classic one, with a series for each bucket."""
CUSTOM = "custom"
UNKNOWN = "unknown"
"""The type of a series of which nobody said one."""


def is_verbatim(scope_name: str) -> bool:
    """Whether series of this scope are Prometheus's own."""
    return scope_name == SCOPE_NAME


def family_names(name: str) -> tuple[str, ...]:
    """The names under which a Prometheus may tell type, unit and description of a series that is a family of its own,
    the likelier first: OpenMetrics's families have neither `_total` nor `_info`, of which their samples have one."""
    return name, *(name.removesuffix(end) for end in ("_total", "_info") if name.endswith(end))


def resource_of(job: str, instance: str) -> dict[str, str]:
    """Attributes of the resource that says the same as `job` and `instance`; without those that are empty."""
    namespace, _, name = job.rpartition("/")
    found = {"service.namespace": namespace, "service.name": name, "service.instance.id": instance}
    return {key: value for key, value in found.items() if value}
