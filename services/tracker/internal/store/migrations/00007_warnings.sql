-- +goose Up

-- What was corrected in the analysis server's report of a completed job: codes,
-- separated by commas.
ALTER TABLE tracker.analysis_results
    ADD COLUMN warnings text NOT NULL DEFAULT '',
    ADD CHECK (status <> 'erased' OR warnings = '');
