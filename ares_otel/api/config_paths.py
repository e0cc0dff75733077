"""Paths of settings: keys have dots and slashes, and may even end in a word that is an endpoint.

What counts is the path as it was sent, before `%xx` is decoded. The part up to the first `/` behind `/api/v1/config/`
is the service; a last part that is literally `history` or `rollback`, and a rest that is literally `export`, `import`
or `watch`, are endpoints; everything else is the key. So the key `a/history` is written `a%2Fhistory`, and the key
`export` with a letter encoded, `%65xport`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/api/v1/config/"
OF_KEY = ("history", "rollback")
OF_SERVICE = ("export", "import", "watch")


class ConfigPaths:
    """ASGI middleware: makes every key one part of the path, still encoded, so that plain routes tell keys and
    endpoints apart. Endpoints decode service and key themselves (`config_parameters`)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            raw = (scope.get("raw_path") or b"").decode("latin-1")
            if raw.startswith(PREFIX):
                scope = {**scope, "path": PREFIX + _parted(raw.removeprefix(PREFIX))}
        await self.app(scope, receive, send)


def _parted(rest: str) -> str:
    service, slash, key = rest.partition("/")
    if not slash or key in OF_SERVICE:
        return rest
    front, slash, last = key.rpartition("/")
    if front and last in OF_KEY:
        return f"{service}/{front.replace('/', '%2F')}/{last}"
    return f"{service}/{key.replace('/', '%2F')}"
