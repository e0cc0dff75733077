"""Relabelling: what becomes of a set of labels.

Source: prometheus.io, "Configuration", `<relabel_config>`. Expressions are RE2 and match a whole value; a point matches
a line feed too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import re2
from pydantic import BeforeValidator, Field, model_validator

from ares_otel.pipeline.component import ComponentConfig

MAX_PATTERN = 4096
MAX_LABEL_BYTES = 64 * 1024
"""Of a label that a rule makes. Without a bound a replacement that names `$1` often, in a row of rules, would grow
without end."""
_WHOLE = "(.*)"
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)
_TARGETED = ("replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal")

Labels = dict[str, str]
"""Label names and values, `__name__` among them."""
_Action = Literal[
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
]


class RelabelConfig(ComponentConfig):
    """One rule."""

    source_labels: tuple[str, ...] = Field(
        default=(), max_length=100, description="Labels whose values, joined by the separator, are looked at."
    )
    separator: str = Field(default=";", max_length=200, description="What stands between these values.")
    target_label: str = Field(
        default="", max_length=1000, description="The label that is set, or compared with; may hold `$1` in `replace`."
    )
    regex: str = Field(
        default=_WHOLE, max_length=MAX_PATTERN, description="Expression, RE2, that must match the whole value."
    )
    modulus: int = Field(default=0, ge=0, lt=2**64, description="Divisor of `hashmod`.")
    replacement: str = Field(
        default="$1", max_length=4096, description="The new value; `$1`, `$name` or `$${name}` are groups of the regex."
    )
    action: Annotated[_Action, BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)] = (
        Field(default="replace", description="What to do; upper case is accepted too.")
    )

    @model_validator(mode="after")
    def _check(self) -> RelabelConfig:
        action = self.action
        for name in self.source_labels:
            if not name:
                raise ValueError("source_labels holds an empty name")
        if action in _TARGETED and not self.target_label:
            raise ValueError(f"the action {action} needs target_label")
        if action == "hashmod" and not self.modulus:
            raise ValueError("the action hashmod needs a modulus")
        given = self.model_fields_set
        unused = {
            "labeldrop": {"source_labels", "target_label", "modulus", "separator", "replacement"},
            "labelkeep": {"source_labels", "target_label", "modulus", "separator", "replacement"},
            "keepequal": {"regex", "modulus", "separator", "replacement"},
            "dropequal": {"regex", "modulus", "separator", "replacement"},
            "lowercase": {"replacement", "modulus"},
            "uppercase": {"replacement", "modulus"},
        }.get(action, set())
        if extra := sorted(unused & given):
            raise ValueError(f"the action {action} does not use {', '.join(extra)}; remove it")
        if "$" in self.target_label and action != "replace":
            raise ValueError(f"target_label cannot hold a group with the action {action}")
        try:
            _compiled(self.regex)
        except re2.error:
            raise ValueError(f"{self.regex[:100]!r} is not a regular expression in RE2's syntax") from None
        return self

    def matches(self, value: str) -> Any:
        """The match over the whole value; None where there is none."""
        return _compiled(self.regex).fullmatch(value)


@lru_cache(maxsize=4096)
def _compiled(regex: str) -> Any:
    """Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    return re2.compile(regex, options)


def relabel(labels: Labels, rules: Sequence[RelabelConfig]) -> Labels | None:
    """What the rules make of the labels; None where they drop them. A label with an empty value is none."""
    made = dict(labels)
    for rule in rules:
        value = rule.separator.join([made.get(name, "") for name in rule.source_labels])
        if not _ACTIONS[rule.action](rule, made, value):
            return None
    return {name: value for name, value in made.items() if value}


def expand(template: str, match: Any) -> str:
    """The template with its groups, as Go's `Regexp.Expand` does it: unknown ones are empty, `$$` is `$`."""

    def group(variable: re.Match[str]) -> str:
        name = variable[1] or variable[2]
        if name is None:
            return "$"
        if name.isdigit():
            number = int(name) if len(name) < 5 else -1
            return (match.group(number) or "") if 0 <= number <= match.re.groups else ""
        return match.groupdict().get(name) or ""

    return _VARIABLE.sub(group, template)


def _replace(rule: RelabelConfig, labels: Labels, value: str) -> bool:
    match = rule.matches(value)
    if match is None:
        return True
    target = expand(rule.target_label, match) if "$" in rule.target_label else rule.target_label
    if not _is_label_name(target):
        return True
    made = expand(rule.replacement, match) if "$" in rule.replacement else rule.replacement
    if made:
        labels[target] = _bounded(made)
    else:
        labels.pop(target, None)
    return True


def _hashmod(rule: RelabelConfig, labels: Labels, value: str) -> bool:
    digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
    labels[rule.target_label] = str(int.from_bytes(digest[8:], "big") % rule.modulus)
    return True


def _lowercase(rule: RelabelConfig, labels: Labels, value: str) -> bool:
    labels[rule.target_label] = value.lower()
    return True


def _uppercase(rule: RelabelConfig, labels: Labels, value: str) -> bool:
    labels[rule.target_label] = value.upper()
    return True


def _labelmap(rule: RelabelConfig, labels: Labels, value: str) -> bool:
    for name, one in list(labels.items()):
        if (match := rule.matches(name)) is not None and _is_label_name(mapped := expand(rule.replacement, match)):
            labels[_bounded(mapped)] = one
    return True


def _labeldrop(rule: RelabelConfig, labels: Labels, value: str) -> bool:
    for name in [name for name in labels if rule.matches(name)]:
        del labels[name]
    return True


def _labelkeep(rule: RelabelConfig, labels: Labels, value: str) -> bool:
    for name in [name for name in labels if not rule.matches(name)]:
        del labels[name]
    return True


_ACTIONS: dict[str, Callable[[RelabelConfig, Labels, str], bool]] = {
    "replace": _replace,
    "keep": lambda rule, labels, value: rule.matches(value) is not None,
    "drop": lambda rule, labels, value: rule.matches(value) is None,
    "keepequal": lambda rule, labels, value: labels.get(rule.target_label, "") == value,
    "dropequal": lambda rule, labels, value: labels.get(rule.target_label, "") != value,
    "hashmod": _hashmod,
    "labelmap": _labelmap,
    "labeldrop": _labeldrop,
    "labelkeep": _labelkeep,
    "lowercase": _lowercase,
    "uppercase": _uppercase,
}


def _is_label_name(name: str) -> bool:
    """Any text is a name since names are UTF-8."""
    return bool(name)


def _bounded(text: str) -> str:
    return text[:MAX_LABEL_BYTES]
