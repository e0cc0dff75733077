"""CORS: whether pages in a browser may send telemetry, and how they are told. Off unless `cors.allowed_origins` is set.

Source: Fetch standard, "CORS protocol"; option names and always-allowed headers as in the Collector's confighttp.
"""

from __future__ import annotations

import logging
import re

from ares_otel.receivers.serving.http_config import CorsConfig

Headers = list[tuple[bytes, bytes]]

_ALWAYS_ALLOWED = ("accept", "accept-language", "content-type", "content-language")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_log = logging.getLogger("ares_otel.receivers")


class Cors:
    """The answers to browsers for one configuration."""

    def __init__(self, config: CorsConfig | None) -> None:
        origins = config.allowed_origins if config is not None else ()
        self._everybody = "*" in origins
        self._patterns = [_pattern(origin) for origin in origins if origin != "*"]
        self._headers = {header.lower() for header in (config.allowed_headers if config is not None else ())}
        self._max_age = config.max_age if config is not None else 0
        if config is not None and self._headers and not origins:
            _log.warning("cors.allowed_headers is ignored because cors.allowed_origins is empty")

    @property
    def enabled(self) -> bool:
        return self._everybody or bool(self._patterns)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may send."""
        return self._everybody or self._named(origin)

    def _named(self, origin: str) -> bool:
        lowered = origin.lower()
        return any(pattern.fullmatch(lowered) for pattern in self._patterns)

    def headers(self, origin: str | None) -> Headers:
        """Headers of an answer to a page of `origin`.

        An origin that the configuration names gets itself back, with credentials. One that only `*` lets in gets the
        literal `*`, which browsers never combine with credentials.
        """
        if not self.enabled:
            return []
        if origin is None or not self.allows(origin):
            return [(b"vary", b"Origin")]
        if not self._named(origin):
            return [(b"access-control-allow-origin", b"*"), (b"vary", b"Origin")]
        return [
            (b"access-control-allow-origin", origin.encode("latin-1", "ignore")),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]

    def preflight(self, origin: str, requested_headers: str) -> Headers:
        """Headers of the answer to an OPTIONS request that asks on behalf of a page of `origin`.

        Args:
            requested_headers: value of Access-Control-Request-Headers.
        """
        if not self.allows(origin):
            return self.headers(origin)
        asked = [name.strip().lower() for name in requested_headers.split(",")][:100]
        allowed = [
            name
            for name in asked
            if _TOKEN.fullmatch(name) and (name in _ALWAYS_ALLOWED or name in self._headers or "*" in self._headers)
        ]
        answer = [*self.headers(origin), (b"access-control-allow-methods", b"POST")]
        if allowed:
            answer.append((b"access-control-allow-headers", ", ".join(allowed).encode("ascii")))
        if self._max_age:
            answer.append((b"access-control-max-age", b"%d" % self._max_age))
        return answer


def _pattern(origin: str) -> re.Pattern[str]:
    """`https://*.example.com` and `http://localhost:*`: a star stands for host labels, or for a port."""
    scheme, _, rest = origin.lower().partition("://")
    host, colon, port = rest.partition(":*")
    text = re.escape(scheme) + "://" + re.escape(host).replace(r"\*", "[a-z0-9.-]+")
    return re.compile(text + (r":[0-9]{1,5}" if colon and not port else ""))
