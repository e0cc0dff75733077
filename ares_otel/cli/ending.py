"""How a command ends: with an exit status, and what a person can mend as one line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import typer

from ares_otel.cli import console
from ares_otel.model.errors import AresError

A = TypeVar("A")


def end_with(work: Callable[[], int], *, trouble: int = 1) -> None:
    """Ends the command with the exit status of the work, or with `trouble` after what a person can mend."""
    try:
        status = work()
    except AresError as error:
        console.error(error.message)
        status = trouble
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # `… | head`: the reader has seen enough
        status = 0
    raise typer.Exit(status)


def end_with_action(
    acting: AbstractAsyncContextManager[A], work: Callable[[A], Awaitable[int]], *, trouble: int = 1
) -> None:
    """The same with what `acting` opens and closes around the work."""

    async def whole() -> int:
        async with acting as actions:
            return await work(actions)

    end_with(lambda: asyncio.run(whole()), trouble=trouble)
