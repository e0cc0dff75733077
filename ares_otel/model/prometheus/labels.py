"""The labels of a series: attributes of the point, then what resource and scope add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ares_otel.model.prometheus.config import TranslationConfig
from ares_otel.model.prometheus.label_names import label_name

NAME = "__name__"
_NAME, _NAMESPACE, _INSTANCE = "service.name", "service.namespace", "service.instance.id"
_IDENTIFYING = (_NAME, _NAMESPACE, _INSTANCE)

Attributes = Mapping[str, str]
"""Attributes with their values as text, see `values.attribute_text`."""
Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class ResourceLabels:
    """What a resource adds to its series."""

    promoted: Labels
    identity: Labels
    """`job` and `instance`, as far as the resource says them."""
    info: Labels | None
    """The labels of its `target_info`; None where there is none."""
    collided: int = 0
    """Labels that stand for several attributes."""


@dataclass(slots=True)
class Translated:
    """Attributes as labels."""

    labels: Labels = field(default_factory=dict)
    collided: int = 0
    """Labels that stand for several attributes, whose values are joined."""


def attribute_labels(attributes: Attributes, config: TranslationConfig, leave_out: Iterable[str] = ()) -> Translated:
    """Labels for attributes. Where several keys become one name, their values are joined by `;` in the order of
    the keys. `__name__` is reserved and left out; so is an empty value, which to Prometheus is no label.

    Raises:
        Untranslatable: nothing is left of a key.
    """
    done = Translated()
    left_out = {NAME, *leave_out}
    joined: set[str] = set()
    for key in sorted(attributes):
        if key in left_out:
            continue
        name = label_name(key, config)
        if name == NAME:
            continue
        value = attributes[key]
        if done.labels.get(name):  # an empty value is no label, so there is nothing to join
            done.labels[name] += f";{value}"
            joined.add(name)
        else:
            done.labels[name] = value
    done.collided = len(joined)
    done.labels = {name: value for name, value in done.labels.items() if value}
    return done


def resource_labels(attributes: Attributes, config: TranslationConfig) -> ResourceLabels:
    """What a resource adds. Raises Untranslatable."""
    identity = _identity(attributes)
    if config.promote_all_resource_attributes:
        ignored = set(config.ignore_resource_attributes)
        chosen = {key: value for key, value in attributes.items() if key not in ignored}
    else:
        wanted = set(config.promote_resource_attributes)
        chosen = {key: value for key, value in attributes.items() if key in wanted}
    promoted = attribute_labels(chosen, config)
    return ResourceLabels(promoted.labels, identity, _target_info(attributes, identity, config), promoted.collided)


def _identity(attributes: Attributes) -> Labels:
    identity = {}
    if name := attributes.get(_NAME):
        namespace = attributes.get(_NAMESPACE)
        identity["job"] = f"{namespace}/{name}" if namespace else name
    if instance := attributes.get(_INSTANCE):
        identity["instance"] = instance
    return identity


def _target_info(attributes: Attributes, identity: Labels, config: TranslationConfig) -> Labels | None:
    """None where the resource only identifies itself, or does not do that."""
    if not identity or not any(key not in _IDENTIFYING for key in attributes):
        return None
    kept = () if config.keep_identifying_resource_attributes else _IDENTIFYING
    return {**attribute_labels(attributes, config, kept).labels, **identity}


def scope_labels(name: str, version: str, schema_url: str, attributes: Attributes, config: TranslationConfig) -> Labels:
    """What a scope adds; nothing unless `promote_scope_metadata` is on. Raises Untranslatable."""
    if not config.promote_scope_metadata:
        return {}
    labels = attribute_labels({f"otel_scope_{key}": value for key, value in attributes.items()}, config).labels
    own = {"otel_scope_name": name, "otel_scope_version": version, "otel_scope_schema_url": schema_url}
    return {**labels, **{key: value for key, value in own.items() if value}}


def series_labels(
    attributes: Attributes, resource: ResourceLabels, scope: Labels, config: TranslationConfig
) -> Translated:
    """All labels of a series but its name. Attributes of the point stand before promoted ones and external labels;
    `job`, `instance` and the labels of the scope stand before all of them.

    Raises:
        Untranslatable: nothing is left of a key.
    """
    done = attribute_labels(attributes, config)
    done.labels = {**dict(config.external_labels), **resource.promoted, **done.labels}
    done.labels |= resource.identity | scope
    return done
