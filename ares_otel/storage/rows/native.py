"""Placeholder until the core is there."""

from ares_otel.storage.rows.reference import encode_batch as encode_batch
