"""Targets that are not named in the configuration: services that registered themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence


class TargetSource(ABC):
    """Knows the registered services. The registry is not the receiver's: who puts Ares together gives it one."""

    @abstractmethod
    async def targets(self, *, include_offline: bool) -> Sequence[Mapping[str, str]]:
        """Labels of each service that wants to be scraped: `__address__`, `job`, `instance`, where its page is
        (`__scheme__`, `__metrics_path__`), and `__meta_ares_…`.

        Raises:
            Retryable: they cannot be looked up now.
        """

    @abstractmethod
    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of which may be connected to.

        Raises:
            ValueError: one may not; a sentence.
            OSError: the name is not known.
        """
