-- +goose Up

-- Whether the result of a job is that of another job with the same recording, and why a job waits,
-- which may be that the other one is being analysed.
ALTER TABLE tracker.analysis_results
    ADD COLUMN cached    boolean NOT NULL DEFAULT false,
    ADD COLUMN wait_code text NOT NULL DEFAULT '',
    ADD CHECK (NOT cached OR status = 'completed');
