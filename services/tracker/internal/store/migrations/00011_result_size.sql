-- +goose Up

-- The size of a result, which is asked for before the result is read. Without the column
-- Postgres reads a result to tell its size.
ALTER TABLE tracker.analysis_results
    ADD COLUMN result_bytes bigint GENERATED ALWAYS AS (octet_length(result::text)) STORED;
