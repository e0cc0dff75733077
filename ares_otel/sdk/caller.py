"""Where in the code a call was made."""

from __future__ import annotations

import sys
from types import FrameType

from opentelemetry.util.types import AnyValue

CODE_FILE_PATH = "code.file.path"
CODE_LINE_NUMBER = "code.line.number"
CODE_FUNCTION_NAME = "code.function.name"


def caller(depth: int) -> dict[str, AnyValue]:
    """The attributes of a place in the code, by the semantic conventions
    (https://opentelemetry.io/docs/specs/semconv/registry/attributes/code/).

    Args:
        depth: 1 is the function that calls this one, 2 the one that called it, and so on; the outermost where there are
            not so many.
    """
    frame = sys._getframe(1)
    while depth > 1 and frame.f_back is not None:
        frame, depth = frame.f_back, depth - 1
    code = frame.f_code
    return {
        CODE_FILE_PATH: code.co_filename,
        CODE_LINE_NUMBER: frame.f_lineno,
        CODE_FUNCTION_NAME: f"{_module(frame)}.{code.co_qualname}",
    }


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if type(name) is str else "?"
