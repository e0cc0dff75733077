"""Every component that a configuration file can name. To add one: write it, and add its factory here."""

from __future__ import annotations

from ares_otel.connectors.servicegraph import connector as servicegraph
from ares_otel.connectors.spanmetrics import connector as spanmetrics
from ares_otel.exporters import debug, otlp, otlphttp, zipkin
from ares_otel.exporters.postgres import exporter as postgres
from ares_otel.pipeline.component import Factory
from ares_otel.processors import attributes, filter, probabilistic_sampler, redaction, resource
from ares_otel.receivers.otlp import factory as otlp_receiver
from ares_otel.receivers.prometheus import receiver as prometheus_receiver
from ares_otel.receivers.prometheusremotewrite import receiver as remote_write_receiver
from ares_otel.receivers.zipkin import receiver as zipkin_receiver

COMPONENTS: tuple[Factory, ...] = (
    otlp_receiver.FACTORY,
    zipkin_receiver.FACTORY,
    remote_write_receiver.FACTORY,
    prometheus_receiver.FACTORY,
    attributes.FACTORY,
    filter.FACTORY,
    probabilistic_sampler.FACTORY,
    redaction.FACTORY,
    resource.FACTORY,
    debug.FACTORY,
    otlp.FACTORY,
    otlphttp.FACTORY,
    zipkin.FACTORY,
    postgres.FACTORY,
    servicegraph.FACTORY,
    servicegraph.NEW_NAME_FACTORY,
    spanmetrics.FACTORY,
    spanmetrics.NEW_NAME_FACTORY,
)
