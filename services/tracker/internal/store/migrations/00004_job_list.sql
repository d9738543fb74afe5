-- +goose Up

-- The list of jobs, newest first. The statuses are few: a list of several is made
-- of one piece for each, so that every filter is one range of an index and a page
-- costs the same however many jobs there are. The ranges are read backwards: an
-- index is kept dense where it grows at the end of a range.
DROP INDEX tracker.analysis_results_newest;

CREATE INDEX analysis_results_newest ON tracker.analysis_results (status, created_at, job_id)
    WHERE created_at IS NOT NULL;

CREATE INDEX analysis_results_token ON tracker.analysis_results (token_id, status, created_at, job_id)
    WHERE created_at IS NOT NULL;
