-- +goose Up

-- Whose a job is, also of an erased job. A job without an owner belongs to admins.
--
-- The indexes are those of the lists of one owner. Rows without an owner are not in
-- them, so that an installation without users does not maintain them.
ALTER TABLE tracker.analysis_results
    ADD COLUMN owner text NOT NULL DEFAULT '';

CREATE INDEX analysis_results_owner ON tracker.analysis_results (owner, status, created_at, job_id)
    WHERE created_at IS NOT NULL AND owner <> '';

CREATE INDEX analysis_results_owner_token ON tracker.analysis_results (owner, token_id, status, created_at, job_id)
    WHERE created_at IS NOT NULL AND owner <> '';
