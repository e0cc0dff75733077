"""Swagger UI from files that travel with the package: nothing is loaded from elsewhere, no script stands in a page."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

_FOLDER = Path(__file__).parent / "assets" / "swagger"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
_PAGE = "index.html"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def swagger_router() -> APIRouter:
    """`/swagger/index.html`, what it loads, and the redirects to it. Reads the files now.

    Raises:
        OSError: the installation is incomplete.
    """
    router = APIRouter(include_in_schema=False)
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _MEDIA_TYPES}
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for name, content in files.items()}

    @router.get("/")
    async def root() -> Response:
        return _to("swagger/index.html")

    @router.get("/swagger")
    async def folder() -> Response:
        return _to("swagger/index.html")

    @router.get("/swagger/")
    async def folder_itself() -> Response:
        return _to("index.html")

    @router.get("/swagger/{name}")
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404)
        headers = {
            "ETag": tags[name],
            "Cache-Control": "no-cache",
            "Content-Type": _MEDIA_TYPES[Path(name).suffix],
            "Content-Security-Policy": _POLICY,
        }
        if tags[name] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"ETag": tags[name], "Cache-Control": "no-cache"})
        return Response(files[name], headers=headers)

    return router


def _to(address: str) -> Response:
    # Relative, so that neither the Host header nor a proxy's prefix can lead elsewhere.
    return Response(status_code=307, headers={"Location": address})
