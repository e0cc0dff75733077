"""The columns each row encoder writes, in the order of the fields in its tuples.

Columns that are not here (`id` of logs and points) take their default. The order is the encoder's own: what a whole
scope shares stands first, what is almost always NULL stands last, so that both ends of a tuple are ready-made bytes.
"""

from __future__ import annotations

from ares_otel.storage.rows.encoded import DISTRIBUTIONS, LOGS, SAMPLES, SPANS

_SHARED = ("tenant_id", "received_at")
_SCOPED = (*_SHARED, "resource_id", "scope_id", "service_name")
_POINT_END = ("start_time", "start_ns", "flags", "exemplars", "point_raw", "original_time_unix_nano")

COPY_COLUMNS: dict[str, tuple[str, ...]] = {
    SPANS: (
        *_SCOPED,
        "trace_id",
        "span_id",
        "parent_span_id",
        "operation_name",
        "kind",
        "start_time",
        "start_ns",
        "duration_ms",
        "duration_ns",
        "flags",
        "attributes",
        "events",
        "links",
        "status",
        "status_message",
        "status_code",
        "attributes_raw",
        "events_raw",
        "links_raw",
        "trace_state",
        "dropped_attributes_count",
        "dropped_events_count",
        "dropped_links_count",
        "original_time_unix_nano",
        "original_end_unix_nano",
    ),
    LOGS: (
        *_SCOPED,
        "trace_id",
        "span_id",
        "log_level",
        "timestamp",
        "timestamp_ns",
        "severity_number",
        "flags",
        "observed_timestamp",
        "observed_ns",
        "severity_text",
        "message",
        "metadata",
        "parent_span_id",
        "source_file",
        "source_line",
        "body",
        "body_raw",
        "attributes_raw",
        "event_name",
        "dropped_attributes_count",
        "original_time_unix_nano",
    ),
    SAMPLES: (*_SHARED, "series_id", "timestamp", "timestamp_ns", "value", "value_int", *_POINT_END),
    DISTRIBUTIONS: (
        *_SHARED,
        "series_id",
        "timestamp",
        "timestamp_ns",
        "value",
        "count",
        "sum",
        "min",
        "max",
        "explicit_bounds",
        "bucket_counts",
        "scale",
        "zero_count",
        "zero_threshold",
        "positive_offset",
        "positive_counts",
        "negative_offset",
        "negative_counts",
        "quantiles",
        "quantile_values",
        *_POINT_END,
    ),
}
"""Table → columns, for `COPY table (columns) FROM STDIN (FORMAT binary)`."""
