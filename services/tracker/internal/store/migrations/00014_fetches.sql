-- +goose Up

-- How far the fetch of a recording is: the newest event that told it, and what it said.
ALTER TABLE tracker.analysis_results
    ADD COLUMN fetch_seq     bigint NOT NULL DEFAULT 0,
    ADD COLUMN fetch_attempt integer NOT NULL DEFAULT 0,
    ADD COLUMN fetch_bytes   bigint NOT NULL DEFAULT 0,
    ADD COLUMN fetch_size    bigint NOT NULL DEFAULT 0,
    ADD COLUMN fetch_try     integer NOT NULL DEFAULT 0,
    ADD COLUMN fetch_code    text NOT NULL DEFAULT '',
    ADD COLUMN fetch_status  integer NOT NULL DEFAULT 0;
