-- +goose Up

-- The newest callback of the analysis server that was refused: why, told by which
-- event and for which attempt. Whether it is still the last that was heard is the
-- stage.
ALTER TABLE tracker.analysis_results
    ADD COLUMN refused_seq     bigint NOT NULL DEFAULT 0,
    ADD COLUMN refused_attempt integer NOT NULL DEFAULT 0,
    ADD COLUMN refused_code    text NOT NULL DEFAULT '';
