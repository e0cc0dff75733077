"""From a configuration file to a checked `PipelineConfig`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ares_otel.pipeline.component import Factory
from ares_otel.pipeline.config import PipelineConfig
from ares_otel.pipeline.env import Environment
from ares_otel.pipeline.problem import ConfigError, Place, Problem
from ares_otel.pipeline.validate import check
from ares_otel.pipeline.yaml_source import MAX_BYTES, read


def load_file(path: Path, components: Sequence[Factory], environ: Mapping[str, str]) -> PipelineConfig:
    """Reads and checks a configuration file.

    Args:
        components: everything that the file may name.
        environ: the variables for `${env:NAME}`.

    Raises:
        ConfigError: with every problem of the file, sorted by line; also when the file cannot be read.
    """
    return load_bytes(read_file(path), str(path), components, environ)


def read_file(path: Path) -> bytes:
    """The content of a configuration file, cut where it is too long to be one.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        text = f"the file cannot be read: {error.strerror or error}."
        raise ConfigError(str(path), [Problem(Place(), text)]) from error


def load_bytes(content: bytes, file: str, components: Sequence[Factory], environ: Mapping[str, str]) -> PipelineConfig:
    """Reads and checks the content of a configuration file; `file` is its name in messages.

    Raises:
        ConfigError: as `load_file`.
    """
    environment = Environment(environ)
    return check(read(file, content, environment), file, components, environment)
