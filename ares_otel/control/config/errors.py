"""What can be wrong with a question to the configuration service. The docstring of a class is its default message."""

from __future__ import annotations

from ares_otel.model.errors import AresError


class ConfigError(AresError):
    """The configuration could not be read or changed."""


class InvalidSetting(ConfigError):
    """A field of a request is wrong; nothing was changed."""

    def __init__(self, field: str, message: str) -> None:
        """`message` is a sentence that never quotes the value."""
        super().__init__(message)
        self.field = field


class NoSuchSetting(ConfigError):
    """There is no such setting."""


class NoSuchVersion(ConfigError):
    """The setting never had this version."""


class VersionWasDeletion(ConfigError):
    """This version is the setting's deletion, which has no value to go back to; delete the setting instead."""


class PreconditionFailed(ConfigError):
    """The setting is not in the state that the request demands; read it again and decide anew."""


class ConfigBusy(ConfigError):
    """Another session holds an unfinished edit of the configuration; try again when it is committed or rolled back."""
