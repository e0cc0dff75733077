-- Where the partitions of a table begin.

-- name: starts
-- Bounds are printed, and read again, in the session's own time zone and style.
SELECT substring(pg_get_expr(c.relpartbound, 0) FROM $$FROM \('([^']+)'\)$$)::timestamptz AS start
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass(:table) AND NOT i.inhdetachpending
