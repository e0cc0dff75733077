"""The `postgres` exporter: rows in the `service_*` tables, answered after COMMIT, or from the spool."""
