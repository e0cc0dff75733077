-- Partitions whose length follows the volume, and indexes that sealed partitions get later.
CREATE TABLE partition_volumes (
    table_name      text PRIMARY KEY,
    partition_name  text NOT NULL,
    rows_inserted   bigint NOT NULL,
    rows_per_second double precision NOT NULL,
    length_seconds  integer NOT NULL,
    measured_at     timestamptz NOT NULL
);

COMMENT ON TABLE  partition_volumes IS 'How much arrives lately in each telemetry table, and how long its new partitions are therefore';
COMMENT ON COLUMN partition_volumes.table_name IS 'The partitioned table';
COMMENT ON COLUMN partition_volumes.partition_name IS 'The partition that was open at the last measurement';
COMMENT ON COLUMN partition_volumes.rows_inserted IS 'Rows inserted into it by then, as the statistics of the server have it';
COMMENT ON COLUMN partition_volumes.rows_per_second IS 'Rows a second: the latest measurement, or what is left of an earlier, higher one after its half-lives';
COMMENT ON COLUMN partition_volumes.length_seconds IS 'Length of new partitions: 86400, 21600, 3600 or 600';
COMMENT ON COLUMN partition_volumes.measured_at IS 'When it was measured last';

ALTER TABLE partition_jobs ADD COLUMN sealed_with integer;
UPDATE partition_jobs SET sealed_with = 1 WHERE sealed_at IS NOT NULL;
COMMENT ON COLUMN partition_jobs.sealed_with IS 'Number of the set of search indexes that it was sealed with; sealed again when there is a newer one';
