"""The `redaction` processor: takes out attributes by key and masks what values hold."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from pydantic import Field, SecretStr, model_validator

from ares_otel.model.batch import Consumer
from ares_otel.model.signal import LOGS, METRICS, SIGNALS, TRACES, Signal
from ares_otel.pipeline.component import BuildContext, ComponentConfig, ProcessorFactory
from ares_otel.processors.message_processor import MessageProcessor, data_points, items, resource_groups, scope_groups
from ares_otel.processors.regex import Patterns, Regex
from ares_otel.processors.values import MAX_DEPTH, Attributes, as_string, find, put, replace_all, scalar

MASK = "****"
_OUTCOMES = ("redacted", "masked", "allowed", "ignored")
_MAX_NAMES = 100
_MAX_NAME_LENGTH = 256
"""Both bound the summary, whatever a sender nests; counts are exact."""
_MAX_KNOWN_KEYS = 10_000
_SUMMARY_KEYS = frozenset(
    f"redaction.{where}{outcome}.{part}"
    for where in ("", "body.")
    for outcome in _OUTCOMES
    for part in ("keys", "count")
)
"""The processor's own attributes: never taken out, so that a second redaction adds to what the first one wrote."""


class RedactionConfig(ComponentConfig):
    """Options of the `redaction` processor."""

    allow_all_keys: bool = Field(
        default=False, description="Whether every key is kept; otherwise `allowed_keys` rules."
    )
    allowed_keys: list[str] = Field(
        default=[], description="Keys that are kept. An empty list keeps none: the processor fails closed."
    )
    ignored_keys: list[str] = Field(default=[], description="Keys that are kept and not looked into.")
    ignored_key_patterns: list[Regex] = Field(default=[], description="The same, by expression.")
    blocked_key_patterns: list[Regex] = Field(default=[], description="Keys whose whole value is masked.")
    blocked_values: list[Regex] = Field(default=[], description="What is masked wherever it stands in a value.")
    allowed_values: list[Regex] = Field(
        default=[], description="A value in which one is found is not masked; it goes before all blocked ones."
    )
    redact_all_types: bool = Field(
        default=False,
        description="Whether numbers, bools and bytes are looked at by their text, too (a card number sent as an int)."
        " In log bodies they always are.",
    )
    hash_function: Literal["md5", "sha1", "sha3", "hmac-sha256", "hmac-sha512"] | None = Field(
        default=None, description="Puts a hash in place of what is masked, in hex, instead of ****. sha3 is SHA3-256."
    )
    hmac_key: SecretStr | None = Field(default=None, description="Key of the hmac functions; needed by them only.")
    summary: Literal["debug", "info", "silent"] = Field(
        default="silent",
        description="Attributes that say what was done: debug counts and keys, info counts, silent none.",
    )

    @model_validator(mode="after")
    def _key_fits_the_function(self) -> Self:
        needed = (self.hash_function or "").startswith("hmac")
        if needed and not (self.hmac_key and self.hmac_key.get_secret_value()):
            raise ValueError(f"hash_function {self.hash_function} needs hmac_key.")
        if self.hmac_key is not None and not needed:
            raise ValueError("hmac_key is used by hash_function hmac-sha256 and hmac-sha512 only; remove it.")
        return self


class _Report:
    """What was done to one attribute list: how many keys, and the names of the first `_MAX_NAMES` of them."""

    __slots__ = ("counts", "names")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_OUTCOMES, 0)
        self.names: dict[str, list[str]] = {outcome: [] for outcome in _OUTCOMES}

    def add(self, outcome: str, path: str) -> None:
        self.counts[outcome] += 1
        if len(self.names[outcome]) < _MAX_NAMES:
            self.names[outcome].append(path)


@dataclass(frozen=True, slots=True)
class _Mode:
    """How attributes and bodies differ (as in the Collector): inside a body every key must be allowed and every type is
    looked at; the content of an allowed attribute needs no allowed keys of its own."""

    nested_keys_need_allowing: bool
    all_types: bool


class RedactionProcessor(MessageProcessor):
    """Redacts the attributes of resources, scopes, spans, events, links, log records, metrics, data points and
    exemplars, and the bodies of log records. Names of spans and metrics and status messages stay."""

    def __init__(self, context: BuildContext, config: RedactionConfig, signal: Signal, next: Consumer) -> None:
        super().__init__(context, signal, next)
        self._summary = config.summary
        self._allowed_keys = None if config.allow_all_keys else frozenset(config.allowed_keys) | _SUMMARY_KEYS
        self._ignored_keys = frozenset(config.ignored_keys)
        self._ignored_patterns = Patterns(config.ignored_key_patterns)
        self._blocked_keys = Patterns(config.blocked_key_patterns)
        self._blocked_values = Patterns(config.blocked_values)
        self._allowed_values = Patterns(config.allowed_values)
        self._known_keys: dict[str, tuple[bool, bool]] = {}
        self._mask = _mask_function(config)
        self._attributes = _Mode(nested_keys_need_allowing=False, all_types=config.redact_all_types)
        self._body = _Mode(nested_keys_need_allowing=True, all_types=True)

    def process(self, message: Any) -> bool:
        changed = False
        for attributes in _attribute_lists(self._signal, message):
            report = _Report()
            self._redact_list(attributes, report, self._attributes)
            changed = self._summarize(attributes, report, "redaction.") or changed
        for record, _, _ in items(LOGS, message) if self._signal is LOGS else ():
            report = _Report()
            if record.body.WhichOneof("value") == "kvlist_value":
                self._redact_list(record.body.kvlist_value.values, report, self._body)
            else:
                self._redact_value("body", record.body, report, self._body)
            changed = self._summarize(record.attributes, report, "redaction.body.") or changed
        return changed

    def _redact_list(
        self, attributes: Attributes, report: _Report, mode: _Mode, prefix: str = "", depth: int = 0
    ) -> None:
        must_be_allowed = self._allowed_keys if depth == 0 or mode.nested_keys_need_allowing else None
        kept = []
        for attribute in attributes:
            key = attribute.key
            path = (prefix + key)[:_MAX_NAME_LENGTH]
            ignored, blocked = self._judge(key)
            if ignored:
                report.add("ignored", path)
            elif must_be_allowed is not None and key not in must_be_allowed:
                report.add("redacted", path)
                continue
            else:
                self._redact_value(path, attribute.value, report, mode, depth=depth, blocked=blocked)
            kept.append(attribute)
        if len(kept) < len(attributes):
            replace_all(attributes, kept)

    def _judge(self, key: str) -> tuple[bool, bool]:
        """Whether a key is ignored, and whether it is blocked. Senders use few keys, many times."""
        known = self._known_keys.get(key)
        if known is None:
            ignored = key in self._ignored_keys or self._ignored_patterns.any_matches(key)
            known = (ignored, self._blocked_keys.any_matches(key))
            if len(self._known_keys) < _MAX_KNOWN_KEYS and len(key) <= _MAX_NAME_LENGTH:
                self._known_keys[key] = known
        return known

    def _redact_value(
        self, path: str, value: AnyValue, report: _Report, mode: _Mode, *, depth: int = 0, blocked: bool = False
    ) -> None:
        kind = value.WhichOneof("value")
        nested = kind in ("array_value", "kvlist_value")
        if kind is None:
            return
        if nested and not blocked and depth < MAX_DEPTH:
            if kind == "kvlist_value":
                self._redact_list(value.kvlist_value.values, report, mode, f"{path}.", depth + 1)
                return
            for index, element in enumerate(value.array_value.values):
                self._redact_value(f"{path}.[{index}]"[:_MAX_NAME_LENGTH], element, report, mode, depth=depth + 1)
            return
        if kind != "string_value" and not (mode.all_types or blocked or nested):
            return
        text = as_string(value)
        if not nested and self._allowed_values.any_matches(text):
            report.add("allowed", path)
            return
        masked = text
        if blocked or nested:  # nested here: deeper than anyone looks, so nobody knows what it holds
            masked = self._mask(text)
        elif self._blocked_values.any_matches(text):
            for pattern in self._blocked_values:
                masked = pattern.replace(masked, self._mask)
        if masked != text:
            report.add("masked", path)
            value.string_value = masked

    def _summarize(self, attributes: Attributes, report: _Report, prefix: str) -> bool:
        """Adds the summary to what an earlier redaction wrote. Returns whether the list, or its values, changed."""
        changed = bool(report.counts["redacted"] or report.counts["masked"])
        for outcome, count in report.counts.items() if self._summary != "silent" else ():
            if not count:
                continue
            changed = True
            before = scalar(find(attributes, f"{prefix}{outcome}.count"))
            if isinstance(before, int) and 0 < before < 2**32:
                count += before
            put(attributes, f"{prefix}{outcome}.count", AnyValue(int_value=count))
            if self._summary == "debug" and outcome != "ignored":
                known = scalar(find(attributes, f"{prefix}{outcome}.keys"))
                names = report.names[outcome] + (known.split(",") if isinstance(known, str) and known else [])
                put(attributes, f"{prefix}{outcome}.keys", AnyValue(string_value=",".join(sorted(names))))
        return changed


def _mask_function(config: RedactionConfig) -> Callable[[str], str]:
    name = config.hash_function
    if name is None:
        return lambda text: MASK
    if name.startswith("hmac-"):
        assert config.hmac_key is not None
        key = config.hmac_key.get_secret_value().encode()
        digest = name.removeprefix("hmac-")
        return lambda text: hmac.new(key, text.encode(), digest).hexdigest()
    algorithm = "sha3_256" if name == "sha3" else name
    return lambda text: hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


def _attribute_lists(signal: Signal, message: Any) -> Iterator[Attributes]:
    """Every attribute list of a request."""
    for group in resource_groups(signal, message):
        yield group.resource.attributes
    for _, scope_group in scope_groups(signal, message):
        yield scope_group.scope.attributes
    for item, _, _ in items(signal, message):
        if signal is METRICS:
            yield item.metadata
            for point in data_points(item):
                yield point.attributes
                for exemplar in getattr(point, "exemplars", ()):
                    yield exemplar.filtered_attributes
            continue
        yield item.attributes
        if signal is TRACES:
            for part in (*item.events, *item.links):
                yield part.attributes


FACTORY = ProcessorFactory("redaction", RedactionConfig, RedactionProcessor, frozenset(SIGNALS.values()))
