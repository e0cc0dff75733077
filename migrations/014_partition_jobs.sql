-- What the jobs on partitions must remember, also over a crash and for other processes.
CREATE TABLE partition_floors (
    table_name text PRIMARY KEY,
    not_before timestamptz NOT NULL,
    moved_at   timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE  partition_floors IS 'Where the kept telemetry begins: older partitions leave or have left, and are not made again';
COMMENT ON COLUMN partition_floors.table_name IS 'The partitioned table';
COMMENT ON COLUMN partition_floors.not_before IS 'Rows of an earlier time are filed under their receive time by every process';
COMMENT ON COLUMN partition_floors.moved_at IS 'When it was last moved; partitions below it are detached some time later, when all processes know';

CREATE TABLE partition_jobs (
    partition_name text PRIMARY KEY,
    archive_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    table_name     text NOT NULL,
    range_start    timestamptz NOT NULL,
    range_end      timestamptz NOT NULL,
    leaving_since  timestamptz,
    leaving_reason text CHECK (leaving_reason IN ('age', 'bytes', 'disk', 'command')),
    detach_began   timestamptz,
    archived_at    timestamptz,
    archived_to    text,
    archived_rows  bigint,
    sealed_at      timestamptz,
    failures       integer NOT NULL DEFAULT 0,
    failed_at      timestamptz,
    last_error     text
);

COMMENT ON TABLE  partition_jobs IS 'Partitions that were sealed, archived or are about to be dropped; a row goes with its partition';
COMMENT ON COLUMN partition_jobs.partition_name IS 'The partition';
COMMENT ON COLUMN partition_jobs.archive_id IS 'Identity that its archive file carries: a file of another partition is never overwritten';
COMMENT ON COLUMN partition_jobs.table_name IS 'The partitioned table';
COMMENT ON COLUMN partition_jobs.range_start IS 'Where its time range begins';
COMMENT ON COLUMN partition_jobs.range_end IS 'Where its time range ends, exclusive';
COMMENT ON COLUMN partition_jobs.leaving_since IS 'When it was decided to drop it; NULL for one that stays';
COMMENT ON COLUMN partition_jobs.leaving_reason IS 'age, bytes (retention.max_bytes), disk (nearly full) or command (somebody asked for it)';
COMMENT ON COLUMN partition_jobs.detach_began IS 'When Ares began to detach it; a table that somebody else detached is not dropped';
COMMENT ON COLUMN partition_jobs.archived_at IS 'When its last complete archive file was written and verified';
COMMENT ON COLUMN partition_jobs.archived_to IS 'Path of that file, on the machine that wrote it';
COMMENT ON COLUMN partition_jobs.archived_rows IS 'Rows in that file';
COMMENT ON COLUMN partition_jobs.sealed_at IS 'When its search indexes were complete and it was vacuumed';
COMMENT ON COLUMN partition_jobs.failures IS 'Failed attempts to seal or drop it since the last success';
COMMENT ON COLUMN partition_jobs.failed_at IS 'When the last of them failed';
COMMENT ON COLUMN partition_jobs.last_error IS 'What the database or the file system said, at most 1,000 characters';
