-- +goose Up

-- A job that waits for the analysis server: until when, told by which event and
-- for which attempt. Whether it still waits is its stage.
ALTER TABLE tracker.analysis_results
    ADD COLUMN wait_seq     bigint NOT NULL DEFAULT 0,
    ADD COLUMN wait_attempt integer NOT NULL DEFAULT 0,
    ADD COLUMN wait_until   timestamptz,
    ADD CHECK (stage <> 'waiting' OR wait_until IS NOT NULL);
