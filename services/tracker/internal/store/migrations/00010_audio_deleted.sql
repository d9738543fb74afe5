-- +goose Up

-- When the recording of a job was deleted because its retention was over. The job
-- and its result stay.
ALTER TABLE tracker.analysis_results
    ADD COLUMN audio_deleted_at timestamptz,
    ADD CHECK (status <> 'erased' OR audio_deleted_at IS NULL);

CREATE INDEX analysis_results_audio ON tracker.analysis_results (ended_at, job_id)
    WHERE ended_at IS NOT NULL AND audio_deleted_at IS NULL AND s3_key <> '';
