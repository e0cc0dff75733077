"""What goes wrong while something is measured."""

from __future__ import annotations

from ares_otel.model.errors import AresError


class BenchError(AresError):
    """The measurement did not come to an end, or its figures would be wrong."""
