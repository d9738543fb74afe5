-- +goose Up

-- What a job's deadline counts from: when it was received or retried, or when
-- the analysis server took it. How long that may last is a setting.
ALTER TABLE tracker.analysis_results
    ADD COLUMN stage_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN stage_at  timestamptz,
    ADD COLUMN analysing boolean NOT NULL DEFAULT false;

UPDATE tracker.analysis_results
SET stage_at = updated_at, analysing = progress >= 90
WHERE status = 'processing';

CREATE INDEX analysis_results_stage ON tracker.analysis_results (stage_at, job_id)
    WHERE status = 'processing';
