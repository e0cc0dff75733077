"""`ares-otel validate`: checks a pipeline configuration and starts nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import typer

from ares_otel.cli.components import COMPONENTS
from ares_otel.cli.console import printable
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.load import load_file
from ares_otel.pipeline.problem import ConfigError


def validate(path: Path, environ: Mapping[str, str] | None = None) -> int:
    """Prints every problem as `FILE:LINE:COLUMN: message`, or, when there is none, the pipelines.

    Args:
        environ: the variables for `${env:NAME}`; the process's own when not given.

    Returns:
        The exit status: 0 when Ares would take the file (warnings do not count), else 1.
    """
    try:
        config = load_file(path, COMPONENTS, os.environ if environ is None else environ)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(printable(problem.show(error.file)))
        return 1
    for warning in config.warnings:
        typer.echo(printable(warning.show(config.file)))
    for line in summary(config):
        typer.echo(printable(line))
    return 0


def summary(config: PipelineConfig) -> list[str]:
    """One line a pipeline: `traces: otlp -> redaction -> postgres, otlp/jaeger`."""
    return [
        f"{pipeline.id}: "
        + " -> ".join([", ".join(pipeline.receivers), *pipeline.processors, ", ".join(pipeline.exporters)])
        for pipeline in config.pipelines.values()
    ]
