"""Which Ares this is, for telemetry that it makes itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Names the writer of a series, so that two processes never write the same one."""

    instance_id: str = ""
    """`service.instance.id` of this Ares: the same after a restart."""
    worker: int = 0
    """Number of the worker that this process is, from 1; 0 when it is none."""
    workers: int = 1
    """How many of them there are."""

    @property
    def writer(self) -> str:
        """One text for both."""
        return f"{self.instance_id}/{self.worker}" if self.worker else self.instance_id
