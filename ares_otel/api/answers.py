"""What endpoints say of their answers in the OpenAPI document."""

from __future__ import annotations

from typing import Any


def ok(model: type[object], example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that answers 200 with this model, and an example of it."""
    return {200: {"model": model, "content": {"application/json": {"example": example}}}}
