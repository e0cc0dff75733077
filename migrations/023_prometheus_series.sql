-- Stored metric series under the names and labels that Prometheus has for them, and an index that answers its matchers.
-- All of it is made from metric_series, otel_resources and otel_scopes, and can be made anew from them at any time.

-- Which series are not here yet is asked before each read: of those that appeared lately.
CREATE INDEX metric_series_first_seen_idx ON metric_series (first_seen);

CREATE TABLE prometheus_index (
    tenant_id     integer NOT NULL DEFAULT 0 PRIMARY KEY,
    translation   jsonb NOT NULL,
    version       integer NOT NULL,
    revision      integer NOT NULL,
    checked_until timestamptz NOT NULL
);

COMMENT ON TABLE  prometheus_index IS 'How far the index of series for Prometheus is, and by which rules it is made';
COMMENT ON COLUMN prometheus_index.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN prometheus_index.translation IS 'Options of the translation, as the settings prometheus.* have them; those that are missing have their defaults';
COMMENT ON COLUMN prometheus_index.version IS 'Version of the rules in the program that made it';
COMMENT ON COLUMN prometheus_index.revision IS 'Counts the changes of translation and version';
COMMENT ON COLUMN prometheus_index.checked_until IS 'Every series that appeared before is indexed';

INSERT INTO prometheus_index (translation, version, revision, checked_until) VALUES ('{}', 1, 0, '-infinity');

CREATE TABLE prometheus_labels (
    tenant_id integer NOT NULL DEFAULT 0,
    label_id  integer GENERATED ALWAYS AS IDENTITY,
    label_key uuid NOT NULL,
    name      text NOT NULL,
    value     text NOT NULL,
    PRIMARY KEY (tenant_id, label_id),
    UNIQUE (tenant_id, label_key)
);
-- Texts may be long, an index entry may not: the index holds bounded prefixes, queries test the whole.
CREATE INDEX prometheus_labels_name_idx ON prometheus_labels (left(name, 200) COLLATE "C", left(value, 200) COLLATE "C");

COMMENT ON TABLE  prometheus_labels IS 'Labels of series under their names in Prometheus, each pair stored once';
COMMENT ON COLUMN prometheus_labels.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN prometheus_labels.label_id IS 'What label_ids of prometheus_series refers to';
COMMENT ON COLUMN prometheus_labels.label_key IS 'Hash of name and value';
COMMENT ON COLUMN prometheus_labels.name IS 'Name of the label; __name__ is that of the metric';
COMMENT ON COLUMN prometheus_labels.value IS 'Its value; empty in the one row that stands for having a label of this name at all';

CREATE TABLE prometheus_series (
    tenant_id   integer NOT NULL DEFAULT 0,
    series_id   uuid NOT NULL,
    part        text NOT NULL,
    kind        text NOT NULL,
    name_id     integer,
    label_ids   integer[] NOT NULL,
    resource_id uuid,
    first_seen  timestamptz NOT NULL,
    revision    integer NOT NULL,
    verbatim    boolean NOT NULL,
    PRIMARY KEY (tenant_id, series_id, part)
);
CREATE INDEX prometheus_series_labels_idx ON prometheus_series USING gin (label_ids);
CREATE INDEX prometheus_series_resource_idx ON prometheus_series (resource_id);

COMMENT ON TABLE  prometheus_series IS 'Metric series as Prometheus has them: a histogram is several, without their le';
COMMENT ON COLUMN prometheus_series.tenant_id IS 'Tenant, 0 is the default tenant';
COMMENT ON COLUMN prometheus_series.series_id IS 'The series in metric_series; of a target_info the resource in otel_resources';
COMMENT ON COLUMN prometheus_series.part IS 'What of the series it is: value, delta (a counter that came as deltas), bucket, sum, count, quantile, native (histogram), info (target_info), or none: it has no form in Prometheus, and kind says why';
COMMENT ON COLUMN prometheus_series.kind IS 'Type of the metric in Prometheus: counter, gauge, histogram, summary, unknown …; deltas or untranslatable where part is none';
COMMENT ON COLUMN prometheus_series.name_id IS 'Label that is its name';
COMMENT ON COLUMN prometheus_series.label_ids IS 'Its labels in prometheus_labels, its name among them, and for each name the row without a value; ascending';
COMMENT ON COLUMN prometheus_series.resource_id IS 'The resource in otel_resources';
COMMENT ON COLUMN prometheus_series.first_seen IS 'When the series appeared; of two with the same labels the older one counts';
COMMENT ON COLUMN prometheus_series.revision IS 'Revision of prometheus_index by which it was translated';
COMMENT ON COLUMN prometheus_series.verbatim IS 'Whether it came as Prometheus has it: by remote write, or from a page that was scraped';

-- Each label by the index: to the planner a scan of the table looks cheap for one of them, but there may be thousands.
CREATE FUNCTION prometheus_series_with(labels integer[]) RETURNS TABLE (series_id uuid, part text)
LANGUAGE sql STABLE STRICT SET enable_seqscan = off AS $$
    SELECT DISTINCT s.series_id, s.part
    FROM unnest(labels) AS l (id)
    CROSS JOIN LATERAL (SELECT p.series_id, p.part FROM prometheus_series p
                        WHERE p.tenant_id = 0 AND p.label_ids @> ARRAY[l.id] OFFSET 0) s
$$;
COMMENT ON FUNCTION prometheus_series_with(integer[]) IS 'Series of the default tenant that have any of the labels';
