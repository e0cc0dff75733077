"""Reads YAML and remembers where everything stood.

Scalars follow YAML 1.2's core schema, as the Collector's parser does for untyped values: `yes`, `on` and `12:30` are
strings here, not booleans and minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ares_otel.pipeline.env import Environment
from ares_otel.pipeline.problem import ConfigError, Path, Place, Problem, dotted

MAX_BYTES = 1024 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 50

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def plain_scalar(text: str) -> Any:
    """The value of a scalar without quotes: None, bool, int, float or str."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) <= 40:
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


class Source:
    """The content of one configuration file as plain dicts, lists and scalars, with the place of each.

    Attributes:
        data: the document; None when the file is empty.
        places: position of every value, by path.
        keys: position of every mapping key, by the path of its value.
        raw: text of values that came from a variable and did not stay strings, by path.
        expanded: paths of values that hold text of variables, and so perhaps secrets.
        failed: paths whose value could not be read; the reason is in `problems`, and no second one is needed.
        problems: what was wrong so far: duplicate keys, unset variables, tags.
    """

    def __init__(self, text: str, environment: Environment) -> None:
        """Never raises because of the text: what is wrong with it is in `problems`."""
        self.data: Any = None
        self.places: dict[Path, Place] = {(): Place()}
        self.keys: dict[Path, Place] = {}
        self.raw: dict[Path, str] = {}
        self.expanded: set[Path] = set()
        self.failed: set[Path] = set()
        self.problems: list[Problem] = []
        self._environment = environment
        self._nodes = 0
        try:
            root = _compose(text)
            if root is not None:
                self.data = self._convert(root, ())
        except RecursionError:
            self.problems.append(Problem(Place(), "the file is nested too deeply."))
        except _TooMuch as error:
            self.problems.append(Problem(error.place, str(error)))
        except yaml.YAMLError as error:
            self.problems.append(_syntax_problem(error))

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where the value (or its key) stands; for a path that is not in the file, where the nearest parent stands."""
        while path:
            if key and path in self.keys:
                return self.keys[path]
            if path in self.places:
                return self.places[path]
            path, key = path[:-1], True
        return Place()

    def is_expanded(self, path: Path) -> bool:
        """Whether the value, or one around it, came from a variable."""
        return any(path[:length] in self.expanded for length in range(len(path) + 1))

    def is_failed(self, path: Path) -> bool:
        """Whether the value, or one around it, could not be read."""
        return any(path[:length] in self.failed for length in range(len(path) + 1))

    def _convert(self, node: yaml.Node, path: Path) -> Any:
        place = _place(node)
        self.places[path] = place
        self._nodes += 1
        # An alias is converted again wherever it stands, so a small file could grow without end: both are bounded.
        if self._nodes > MAX_NODES:
            raise _TooMuch(f"the file has more than {MAX_NODES} values (aliases count each time they are used).", place)
        if len(path) > MAX_DEPTH:
            raise _TooMuch(f"{dotted(path)[:100]}: nested deeper than {MAX_DEPTH} levels.", place)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self._convert(item, (*path, number)) for number, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            return self._scalar(node, path)
        self.failed.add(path)
        self.problems.append(Problem(place, f"{dotted(path)}: YAML tags ({node.tag}) are not supported; remove it."))
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem(_place(key), f"{dotted(path)}: a key must be a plain name."))
                continue
            name = str(key.value)
            if name == "<<" and key.style is None:
                for part in _merge_parts(value):
                    for inherited, item in self._mapping(part, path).items():
                        merged.setdefault(inherited, item)
                continue
            inner = (*path, name)
            if name in result:
                first = self.keys[inner]
                text = f"{dotted(inner)}: the key stands here a second time; the first is in line {first.line}."
                self.problems.append(Problem(_place(key), text))
                continue
            self.keys[inner] = _place(key)
            result[name] = self._convert(value, inner)
        return {**merged, **result}

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = str(node.value)
        if "$" not in text:
            return plain_scalar(text) if node.style is None else text
        try:
            expanded, single = self._environment.expand(text)
        except ValueError as error:
            self.failed.add(path)
            self.problems.append(Problem(_place(node), f"{dotted(path)}: {error}"))
            return None
        self.expanded.add(path)
        if not single:
            return expanded
        value = self._variable(expanded)
        if not isinstance(value, str):
            self.raw[path] = expanded
        return value

    def _variable(self, text: str) -> Any:
        """A variable that is the whole value is YAML again, so it can be a number or a list, as in the Collector. What
        is not YAML is a string."""
        inner = Source(text, Environment({})) if "$" not in text and len(text) <= MAX_BYTES else None
        if inner is None or inner.problems:
            return text
        self._nodes += inner._nodes
        return inner.data


class _TooMuch(Exception):
    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


def read(file: str, content: bytes, environment: Environment) -> Source:
    """Reads the bytes of a file.

    Raises:
        ConfigError: larger than 1 MiB, not UTF-8, or not YAML at all.
    """
    if len(content) > MAX_BYTES:
        raise ConfigError(file, [Problem(Place(), f"the file is larger than {MAX_BYTES} bytes.")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(file, [Problem(Place(line), "the file is not UTF-8 text.")]) from error
    return Source(text, environment)


def _compose(text: str) -> yaml.Node | None:
    loader = yaml.BaseLoader(text)
    try:
        return loader.get_single_node()
    except (ValueError, OverflowError) as error:  # an escape such as "\\UFFFFFFFF" that is no character
        raise yaml.MarkedYAMLError(
            problem="found an escape that is no character", problem_mark=loader.get_mark()
        ) from error
    finally:
        loader.dispose()


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _merge_parts(value: yaml.Node) -> Iterator[yaml.MappingNode]:
    for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
        if isinstance(part, yaml.MappingNode):
            yield part


def _syntax_problem(error: yaml.YAMLError) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        context = f"{error.context}, " if error.context else ""
        return Problem(Place(mark.line + 1, mark.column + 1), f"this is not valid YAML: {context}{error.problem}.")
    return Problem(Place(), f"this is not valid YAML: {' '.join(str(error).split())[:200]}.")
