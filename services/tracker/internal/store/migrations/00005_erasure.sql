-- +goose Up

-- An erased job keeps its row, as a tombstone: that it was, of which token and
-- since when, and nothing of what it held.
ALTER TABLE tracker.analysis_results
    DROP CONSTRAINT analysis_results_status_check,
    ADD CONSTRAINT analysis_results_status_check
        CHECK (status IN ('processing', 'completed', 'failed', 'canceled', 'erased')),
    ADD CONSTRAINT analysis_results_tombstone_check
        CHECK (status <> 'erased' OR result IS NULL AND message = ''
            AND s3_bucket = '' AND s3_key = '' AND file_name = '' AND media_type = ''
            AND size = 0 AND sha256 = '' AND duration = 0 AND analysis_job_id = '');

-- Tokens that are deleted. Their jobs may come later than that.
CREATE TABLE tracker.deleted_tokens (
    token_id   bigint PRIMARY KEY,
    deleted_at timestamptz NOT NULL
);
