"""Who sends: the resource of this process."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.resources import (
    ProcessResourceDetector,
    Resource,
    _HostResourceDetector,
    get_aggregated_resources,
)

from ares_otel import __version__
from ares_otel.sdk.options import Options

DISTRO = {"telemetry.distro.name": "ares-otel", "telemetry.distro.version": __version__}
"""https://opentelemetry.io/docs/specs/semconv/resource/#telemetry-distribution-experimental"""


def build(options: Options, auto_version: str | None = None) -> Resource:
    """The resource: what the host and the process are like; over that `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`
    and the detectors of `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`; over that what the code says, as `Resource.create` has
    it.

    `service.instance.id` is a random UUID unless one is given; a fork gets its own. The arguments of the command line
    are left out: they may hold secrets.

    Args:
        options: what the code says.
        auto_version: of `opentelemetry-instrument`, when that set it up.
    """
    said: dict[str, Any] = {
        **options.resource_attributes,
        "service.name": options.service_name,
        "service.version": options.service_version,
        "service.namespace": options.service_namespace,
        "deployment.environment.name": options.environment,
        "telemetry.auto.version": auto_version,
    }
    for name in ("service.name", "service.version", "service.namespace", "deployment.environment.name"):
        if said[name] is None and name in options.resource_attributes:
            said[name] = options.resource_attributes[name]
    given = {name: value for name, value in said.items() if value is not None}
    around = get_aggregated_resources([_HostResourceDetector(), ProcessResourceDetector()], Resource(DISTRO))
    return around.merge(Resource.create(given))


def of_the_fork() -> Resource:
    """What is different about a process that was forked. Its instance id the SDK has replaced by itself."""
    return ProcessResourceDetector().detect()
