"""How a target is asked: credentials, headers, TLS. Values of secrets stand in no error and in no log.

Source: prometheus.io, "Configuration", `<http_config>` and `<tls_config>`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator

from ares_otel.pipeline.component import ComponentConfig

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_RESERVED = frozenset(
    [
        "accept",
        "accept-encoding",
        "accept-charset",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "www-authenticate",
        "x-prometheus-scrape-timeout-seconds",
    ]
)


class SecretsConfig(ComponentConfig):
    """Options of which some are secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class BasicAuth(SecretsConfig):
    """`basic_auth`"""

    username: str = Field(default="", max_length=1000, description="The user.")
    password: SecretStr | None = Field(default=None, description="The password.")
    password_file: Path | None = Field(default=None, description="A file with it, read at each scrape.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        if ":" in self.username:
            raise ValueError("a username cannot hold a colon")
        return self


class Authorization(SecretsConfig):
    """`authorization`"""

    type: str = Field(default="Bearer", max_length=100, description="The scheme, before the credentials.")
    credentials: SecretStr | None = Field(default=None, description="The credentials.")
    credentials_file: Path | None = Field(default=None, description="A file with them, read at each scrape.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("give credentials or credentials_file, one of them")
        if not _NAME.fullmatch(self.type):
            raise ValueError("type is the name of a scheme, for example Bearer")
        if self.type.lower() == "basic":
            raise ValueError("for Basic there is basic_auth")
        return self


class HttpHeader(SecretsConfig):
    """One of `http_headers`."""

    values: tuple[str, ...] = Field(default=(), max_length=100, description="Values of the header.")
    secrets: tuple[SecretStr, ...] = Field(default=(), max_length=100, description="Values that are not shown.")
    files: tuple[Path, ...] = Field(default=(), max_length=100, description="Files with values, read at each scrape.")


def _headers(headers: dict[str, HttpHeader]) -> dict[str, HttpHeader]:
    for name in headers:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:50]!r} is not a header's name")
        if name.lower() in _RESERVED:
            raise ValueError(f"the header {name} is set by the scrape itself; remove it")
    return headers


HttpHeaders = Annotated[dict[str, HttpHeader], Field(max_length=100), AfterValidator(_headers)]


class ScrapeTls(ComponentConfig):
    """`tls_config`"""

    ca_file: Path | None = Field(default=None, description="Certificates to trust, PEM; the system's when not set.")
    cert_file: Path | None = Field(default=None, description="Own certificate, PEM, if the target asks for one.")
    key_file: Path | None = Field(default=None, description="Key of the own certificate, PEM.")
    server_name: str = Field(
        default="", max_length=253, description="Name that the target's certificate must hold, when not the host's."
    )
    insecure_skip_verify: bool = Field(
        default=False, description="Whether the target's certificate is taken unchecked: for trials only."
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both or none")
        return self


class HttpOptions(SecretsConfig):
    """What a scrape configuration says about HTTP."""

    basic_auth: BasicAuth | None = Field(default=None, description="Sent with every scrape, to the target only.")
    authorization: Authorization | None = Field(default=None, description="The same for other schemes than Basic.")
    http_headers: HttpHeaders = Field(default={}, description="Headers beside the usual, by name.")
    tls_config: ScrapeTls = Field(default=ScrapeTls(), description="How a connection by https is secured.")
    follow_redirects: bool = Field(
        default=True, description="Whether redirects are followed, ten at most; credentials stay with the first host."
    )
    enable_compression: bool = Field(default=True, description="Whether pages may come compressed with gzip.")

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if self.basic_auth is not None and self.authorization is not None:
            raise ValueError("give basic_auth or authorization, not both")
        return self
