"""`${env:NAME}` in configuration values, as the Collector expands it.

* `${env:NAME}` and the short `${NAME}` are replaced by the variable; `${env:NAME:-text}` by `text` when it is not set.
* `$$` is a single `$`; a `$` without a brace stays what it is.
* Keys are not expanded, and what a variable holds is not expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$|\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Environment:
    """The variables that a configuration may use, and which of them it did use."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.used: set[str] = set()
        """Names that the file refers to, whether they are set or not."""

    def expand(self, text: str) -> tuple[str, bool]:
        """The text with all references replaced, and whether it was one single reference: only then the result may
        become a number, a boolean or a list, as the Collector has it.

        Raises:
            ValueError: a variable is not set and has no default, or what stands in the braces is not a reference.
        """
        whole = _REFERENCE.fullmatch(text)
        single = whole is not None and whole[1] is not None
        return _REFERENCE.sub(self._replace, text), single

    def _replace(self, match: re.Match[str]) -> str:
        inner = match[1]
        if inner is None:
            return "$"
        scheme, colon, rest = inner.partition(":")
        if not colon or rest.startswith("-"):  # ${NAME} and ${NAME:-default}
            scheme, rest = "env", inner
        name, has_default, default = rest.partition(":-")
        if scheme != "env":
            raise ValueError(f"${{{inner}}}: only ${{env:NAME}} is known here; write $${{ for a literal ${{.")
        if not _NAME.fullmatch(name):
            raise ValueError(f"${{{inner}}}: {name!r} is not a variable's name; write $${{ for a literal ${{.")
        self.used.add(name)
        if name in self._variables:
            return self._variables[name]
        if not has_default:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or give a default: ${{env:{name}:-value}}."
            )
        return default
