-- +goose Up

-- lz4 takes a fifth of the time that pglz takes to compress a large result. Stored results stay as they
-- are. A server that was built without lz4, or is older than PostgreSQL 14, keeps pglz.
-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE 'ALTER TABLE tracker.analysis_results ALTER COLUMN result SET COMPRESSION lz4';
EXCEPTION
    WHEN feature_not_supported OR syntax_error THEN
        NULL;
END
$$;
-- +goose StatementEnd
