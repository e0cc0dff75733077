"""What the exporters that send OTLP share: their options, and how an answer of the destination is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator

from ares_otel import __version__
from ares_otel.exporters.text import printable, without_secrets
from ares_otel.model.batch import Accepted, Batch
from ares_otel.model.errors import StartError
from ares_otel.pipeline.component import ComponentConfig
from ares_otel.pipeline.occasional import Occasional
from ares_otel.pipeline.sending import SendingConfig

USER_AGENT = f"ares-otel/{__version__}"
MAX_ANSWER_BYTES = 4 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_RESERVED = re.compile(
    r"content-(type|length|encoding)|transfer-encoding|connection|te|upgrade|grpc-.*|:.*|.*-bin", re.I
)


def _checked_headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{printable(name, 50)} is not a header name.")
        if _RESERVED.fullmatch(name):
            raise ValueError(f"The header {name} is set by the exporter itself; remove it.")
        text = value.get_secret_value()
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"The value of the header {name} holds characters that are not printable ASCII.")
    return headers


Headers = Annotated[dict[str, SecretStr], Field(max_length=100), AfterValidator(_checked_headers)]


class TlsConfig(ComponentConfig):
    """`tls` of an exporter."""

    ca_file: Path | None = Field(default=None, description="Certificates to trust, PEM; the system's when not set.")
    cert_file: Path | None = Field(default=None, description="Own certificate, PEM, if the destination asks for one.")
    key_file: Path | None = Field(default=None, description="Key of the own certificate, PEM.")

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both or none.")
        return self


class ClientConfig(SendingConfig):
    """Options of both OTLP exporters. Values of options never stand in an error: they may be secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    headers: Headers = Field(default={}, description="Sent with every request; values are kept out of every log.")

    def secrets(self) -> list[str]:
        """The values that must not be shown."""
        return [value.get_secret_value() for value in self.headers.values()]


def read_tls_file(path: Path | None, option: str) -> bytes | None:
    """Content of a PEM file.

    Raises:
        StartError: it cannot be read; the message names the option.
    """
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{option}: {path} cannot be read: {error.strerror}.") from None


class AnswerReader:
    """Reads what the destination answers, for one exporter."""

    def __init__(self, config: ClientConfig, warnings: Occasional) -> None:
        self._secrets = config.secrets()
        self._warnings = warnings

    def shown(self, text: str) -> str:
        """Text of the destination, for an error message."""
        return printable(without_secrets(text, self._secrets))

    def accepted(self, batch: Batch, response: Any) -> Accepted:
        """The answer for a batch that the destination took, perhaps in part (OTLP, "Partial Success")."""
        partial = response.partial_success
        rejected = min(max(getattr(partial, batch.signal.rejected_field), 0), batch.items)
        if not rejected:
            if partial.error_message:
                self._warnings.warn("the destination warns: %s", self.shown(partial.error_message))
            return Accepted(batch.items)
        reason = self.shown(partial.error_message) or "no reason given"
        return Accepted(batch.items - rejected, rejected=rejected, reason=f"The destination rejected a part: {reason}")
