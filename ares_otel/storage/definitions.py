"""The columns of the definition tables, in the order in which encoders give their values."""

from __future__ import annotations

from ares_otel.storage.rows.encoded import RESOURCES, SCOPES, SERIES

# table → (id column, ((column, PostgreSQL type), …)); the tenant stands before the id, first_seen and last_seen after.
# jsonb values are given as JSON text (str), bytea as bytes, absent values as None.
ID_COLUMN = {RESOURCES: "resource_id", SCOPES: "scope_id", SERIES: "series_id"}
COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    RESOURCES: (
        ("service_name", "text"),
        ("attributes", "jsonb"),
        ("attributes_raw", "bytea"),
        ("dropped_attributes_count", "bigint"),
        ("schema_url", "text"),
        ("entity_refs", "bytea"),
    ),
    SCOPES: (
        ("name", "text"),
        ("version", "text"),
        ("attributes", "jsonb"),
        ("attributes_raw", "bytea"),
        ("dropped_attributes_count", "bigint"),
        ("schema_url", "text"),
    ),
    SERIES: (
        ("service_name", "text"),
        ("metric_name", "text"),
        ("metric_type", "text"),
        ("unit", "text"),
        ("description", "text"),
        ("temporality", "text"),
        ("is_monotonic", "boolean"),
        ("labels", "jsonb"),
        ("attributes_raw", "bytea"),
        ("metadata", "jsonb"),
        ("metadata_raw", "bytea"),
        ("resource_id", "uuid"),
        ("scope_id", "uuid"),
    ),
}
