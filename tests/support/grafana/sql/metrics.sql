-- At most 20 series, those heard of last; what has the same attributes in several resources is taken together.

-- name: values
SELECT $__timeGroup("timestamp", '$__interval') AS "time", left(labels::text, 200) AS metric, avg(metric_value) AS "value"
FROM service_metrics
WHERE $__timeFilter("timestamp") AND service_name = '${service}' AND metric_name = '${metric}'
  AND series_id IN (
      SELECT series_id FROM metric_series WHERE service_name = '${service}' AND metric_name = '${metric}'
      ORDER BY last_seen DESC, series_id LIMIT 20)
GROUP BY 1, 2
ORDER BY 1

-- name: increase
SELECT $__timeGroup("timestamp", '$__interval') AS "time", left(labels::text, 200) AS metric,
       sum(increase) / ($__interval_ms / 1000.0)::double precision AS "a second"
FROM (
    SELECT "timestamp", labels, CASE WHEN temporality = 'delta' THEN total WHEN total < earlier THEN total ELSE total - earlier END AS increase
    FROM (
        SELECT "timestamp", labels, temporality, coalesce(count, metric_value) AS total,
               lag(coalesce(count, metric_value)) OVER (PARTITION BY series_id ORDER BY "timestamp", id) AS earlier
        FROM service_metrics
        WHERE $__timeFilter("timestamp") AND service_name = '${service}' AND metric_name = '${metric}' AND temporality IS NOT NULL
          AND series_id IN (
              SELECT series_id FROM metric_series WHERE service_name = '${service}' AND metric_name = '${metric}'
              ORDER BY last_seen DESC, series_id LIMIT 20)
    ) points
) steps
WHERE increase IS NOT NULL
GROUP BY 1, 2
ORDER BY 1

-- name: means
SELECT $__timeGroup("timestamp", '$__interval') AS "time", left(labels::text, 200) AS metric, sum(sums) / nullif(sum(counts), 0) AS "mean"
FROM (
    SELECT "timestamp", labels,
           CASE WHEN temporality = 'delta' OR count < earlier_count THEN count ELSE count - earlier_count END AS counts,
           CASE WHEN temporality = 'delta' OR count < earlier_count THEN sum ELSE sum - earlier_sum END AS sums
    FROM (
        SELECT "timestamp", labels, temporality, count, sum,
               lag(count) OVER (PARTITION BY series_id ORDER BY "timestamp", id) AS earlier_count,
               lag(sum) OVER (PARTITION BY series_id ORDER BY "timestamp", id) AS earlier_sum
        FROM service_metrics
        WHERE $__timeFilter("timestamp") AND service_name = '${service}' AND metric_name = '${metric}' AND count IS NOT NULL
          AND series_id IN (
              SELECT series_id FROM metric_series WHERE service_name = '${service}' AND metric_name = '${metric}'
              ORDER BY last_seen DESC, series_id LIMIT 20)
    ) points
) steps
WHERE counts > 0
GROUP BY 1, 2
ORDER BY 1

-- name: points
SELECT "timestamp" AS "time", metric_value AS "value", count AS "count", sum AS "sum", min AS "least", max AS "greatest",
       left(labels::text, 1000) AS "attributes"
FROM service_metrics
WHERE $__timeFilter("timestamp") AND service_name = '${service}' AND metric_name = '${metric}'
  AND series_id IN (
      SELECT series_id FROM metric_series WHERE service_name = '${service}' AND metric_name = '${metric}'
      ORDER BY last_seen DESC, series_id LIMIT 20)
ORDER BY "timestamp" DESC
LIMIT 200

-- name: metrics
SELECT metric_name AS "metric", metric_type AS "type", unit AS "unit", coalesce(max(temporality), '') AS "temporality", count(*) AS "series",
       max(last_seen) AS "last seen", left(max(description), 500) AS "description"
FROM metric_series
WHERE service_name = '${service}'
GROUP BY metric_name, metric_type, unit
ORDER BY metric_name
LIMIT 500
