-- +goose Up

-- The first events of a job may be inserted together with its row. Their usage is counted like that of
-- an update (00013). Trackers of an earlier release insert empty rows, which count nothing.
-- +goose StatementBegin
CREATE FUNCTION tracker.count_inserted_usage() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO tracker.usage AS u (owner, day, jobs, staged_bytes, stored_bytes, log_bytes)
    SELECT owner, (created_at AT TIME ZONE 'UTC')::date,
        COUNT(*) FILTER (WHERE status <> 'erased'),
        COALESCE(SUM(size) FILTER (WHERE status = 'processing' AND s3_key = ''), 0),
        COALESCE(SUM(size) FILTER (WHERE s3_key <> '' AND audio_deleted_at IS NULL), 0),
        SUM(log_bytes)
    FROM inserted
    WHERE owner <> '' AND created_at IS NOT NULL
    GROUP BY 1, 2
    ORDER BY 1, 2
    ON CONFLICT (owner, day) DO UPDATE SET
        jobs = u.jobs + excluded.jobs,
        staged_bytes = u.staged_bytes + excluded.staged_bytes,
        stored_bytes = u.stored_bytes + excluded.stored_bytes,
        log_bytes = u.log_bytes + excluded.log_bytes;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER count_inserted_usage
    AFTER INSERT ON tracker.analysis_results
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION tracker.count_inserted_usage();
