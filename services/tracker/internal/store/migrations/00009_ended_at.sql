-- +goose Up

-- When a job ended, from which on its result and its recording are kept for a
-- limited time. It is NULL while a job has not ended, and after it was erased.
ALTER TABLE tracker.analysis_results
    ADD COLUMN ended_at timestamptz,
    ADD CHECK (status <> 'erased' OR ended_at IS NULL);

UPDATE tracker.analysis_results
SET ended_at = updated_at
WHERE status IN ('completed', 'failed', 'canceled');

CREATE INDEX analysis_results_ended ON tracker.analysis_results (ended_at, job_id)
    WHERE ended_at IS NOT NULL;
