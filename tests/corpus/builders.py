"""How each request of the corpus was made, by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.corpus import exporters, oddities, points

BUILDERS: dict[str, Callable[[], bytes]] = {**exporters.BUILDERS, **oddities.BUILDERS, **points.BUILDERS}
