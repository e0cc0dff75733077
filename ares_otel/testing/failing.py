"""How an assertion about telemetry fails: one sentence, then the picture that shows why."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

from ares_otel.testing.shown import as_text, shown_name

_CANDIDATES = 200
_COMPARED = 200
_CLOSE, _VERY_CLOSE = 0.6, 0.85


_DRAWN = "_ares_otel_drawn"


def failure(sentence: str, *blocks: Sequence[str]) -> AssertionError:
    """The error to raise: the sentence, then each block that is not empty, indented and set off by an empty line.

    It is AssertionError itself, whose name pytest shows without a module, so that the sentence begins the summary.
    """
    parts = [sentence]
    for block in blocks:
        if block:
            parts += ["", *(f"  {line}".rstrip() for line in block)]
    error = AssertionError("\n".join(parts))
    setattr(error, _DRAWN, True)
    return error


def sections(error: BaseException, fixtures: Mapping[str, object]) -> list[tuple[str, str]]:
    """(heading, text) of what is shown below a test that failed. Other plugins may have fixtures of these names.

    Never raises: an exception in a hook of pytest ends the whole run.
    """
    if getattr(error, _DRAWN, False):
        return []
    found = []
    tree = getattr(fixtures.get("otel"), "tree", None)
    if callable(tree):
        found.append(("Captured telemetry", _said(tree)))
    complaints = getattr(fixtures.get("ares"), "complaints", None)
    if callable(complaints) and (text := _said(lambda: "\n".join(complaints()))):
        found.append(("What Ares said", text))
    return found


def _said(text: Callable[[], object]) -> str:
    try:
        return str(text())
    except Exception as error:
        return f"It cannot be shown: {type(error).__name__}: {as_text(error)}"


def did_you_mean(wanted: object, there: Iterable[str]) -> str:
    """`; did you mean 'GET /orders'?` when something that is there looks like it, else nothing. Bounded work."""
    if not isinstance(wanted, str):
        return ""
    names = list(dict.fromkeys(name[:_COMPARED] for name in there))[:_CANDIDATES]
    short = wanted[:_COMPARED]
    folded = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(short.casefold(), folded, n=1, cutoff=_VERY_CLOSE)
    close = close or difflib.get_close_matches(short.casefold(), folded, n=2, cutoff=_CLOSE)
    if not close:
        close = [name for name in folded if short.casefold() in name or (len(name) > 2 and name in short.casefold())][
            :2
        ]
    found = [f"'{shown_name(folded[name])}'" for name in close if folded[name] != wanted]
    return f"; did you mean {' or '.join(found)}?" if found else ""
