"""Who sends: the resource of this process."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.sdk.resources import (
    PROCESS_PARENT_PID,
    PROCESS_PID,
    ProcessResourceDetector,
    Resource,
    _HostResourceDetector,
    get_aggregated_resources,
)

from ares_otel import __version__
from ares_otel.sdk.options import Options

ATTRIBUTES = {
    "service_name": "service.name",
    "service_version": "service.version",
    "service_namespace": "service.namespace",
    "environment": "deployment.environment.name",
}
"""Argument → attribute of the resource."""

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
    said = {**options.resource_attributes, **_named(options), "telemetry.auto.version": auto_version}
    given = {name: value for name, value in said.items() if value is not None}
    around = get_aggregated_resources([_HostResourceDetector(), ProcessResourceDetector()], Resource(DISTRO))
    return around.merge(Resource.create(given))


def unheard(options: Options, resource: Resource) -> list[str]:
    """Names of the arguments that say of the service what its resource does not."""
    return [
        argument
        for argument, key in ATTRIBUTES.items()
        if getattr(options, argument) not in (None, resource.attributes.get(key))
    ]


def _named(options: Options) -> dict[str, Any]:
    given = {key: getattr(options, argument) for argument, key in ATTRIBUTES.items()}
    return {key: value for key, value in given.items() if value is not None}


def of_the_fork() -> Resource:
    """What is different about a process that was forked. Its instance id the SDK has replaced by itself."""
    return Resource({PROCESS_PID: os.getpid(), PROCESS_PARENT_PID: os.getppid()})
