-- +goose Up

-- The size of a job's events in the stream of logs, and the sequences of the newest of them: an
-- event that is delivered again is not counted again. Events that were recorded before count as
-- 0 bytes.
ALTER TABLE tracker.analysis_results
    ADD COLUMN log_bytes bigint NOT NULL DEFAULT 0 CHECK (log_bytes >= 0),
    ADD COLUMN log_seqs  text NOT NULL DEFAULT '';

-- What the jobs of an owner use, with a row for each day (UTC) on which the owner made jobs. A sum
-- over all jobs of an owner would take longer with every job. Jobs without an owner are not counted.
CREATE TABLE tracker.usage (
    owner        text NOT NULL,
    day          date NOT NULL,
    jobs         bigint NOT NULL, -- without erased jobs
    staged_bytes bigint NOT NULL, -- of recordings that are not in the bucket yet
    stored_bytes bigint NOT NULL, -- of recordings in the bucket
    log_bytes    bigint NOT NULL,
    PRIMARY KEY (owner, day)
) WITH (fillfactor = 50); -- the newest rows are rewritten with every batch

INSERT INTO tracker.usage (owner, day, jobs, staged_bytes, stored_bytes, log_bytes)
SELECT owner, (created_at AT TIME ZONE 'UTC')::date,
    COUNT(*) FILTER (WHERE status <> 'erased'),
    COALESCE(SUM(size) FILTER (WHERE status = 'processing' AND s3_key = ''), 0),
    COALESCE(SUM(size) FILTER (WHERE s3_key <> '' AND audio_deleted_at IS NULL), 0),
    0
FROM tracker.analysis_results
WHERE owner <> '' AND created_at IS NOT NULL
GROUP BY 1, 2;

-- What a job uses depends on its row alone. So the usage is the sum over the rows, however often and
-- in whatever order events are merged. Rows are inserted empty and never deleted: only updates
-- change the usage.
--
-- A trigger also counts what trackers of an earlier release write during a rolling update. It has
-- the rights of the tables' owner, so that it does not depend on the grants of the tracker's role.
-- Rows of the usage are locked in the order of their key, so that replicas cannot deadlock.
-- +goose StatementBegin
CREATE FUNCTION tracker.count_usage() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO tracker.usage AS u (owner, day, jobs, staged_bytes, stored_bytes, log_bytes)
    SELECT owner, day, SUM(jobs), SUM(staged_bytes), SUM(stored_bytes), SUM(log_bytes)
    FROM (
        SELECT owner, (created_at AT TIME ZONE 'UTC')::date AS day,
            CASE WHEN status <> 'erased' THEN sign ELSE 0 END AS jobs,
            CASE WHEN status = 'processing' AND s3_key = '' THEN sign * size ELSE 0 END AS staged_bytes,
            CASE WHEN s3_key <> '' AND audio_deleted_at IS NULL THEN sign * size ELSE 0 END AS stored_bytes,
            sign * log_bytes AS log_bytes
        FROM (
            SELECT -1 AS sign, owner, created_at, status, s3_key, audio_deleted_at, size, log_bytes FROM before
            UNION ALL
            SELECT 1, owner, created_at, status, s3_key, audio_deleted_at, size, log_bytes FROM after
        ) AS jobs
        WHERE owner <> '' AND created_at IS NOT NULL
    ) AS changes
    GROUP BY owner, day
    HAVING SUM(jobs) <> 0 OR SUM(staged_bytes) <> 0 OR SUM(stored_bytes) <> 0 OR SUM(log_bytes) <> 0
    ORDER BY owner, day
    ON CONFLICT (owner, day) DO UPDATE SET
        jobs = u.jobs + excluded.jobs,
        staged_bytes = u.staged_bytes + excluded.staged_bytes,
        stored_bytes = u.stored_bytes + excluded.stored_bytes,
        log_bytes = u.log_bytes + excluded.log_bytes;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER count_usage
    AFTER UPDATE ON tracker.analysis_results
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION tracker.count_usage();
