-- +goose Up

-- A search for a part of a name reads only the names that have its trigrams. An
-- installation whose role may not create extensions searches without: slower, but with
-- the same result.
-- +goose StatementBegin
DO $$
DECLARE
    home text;
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA catalogue;
    SELECT nspname INTO home
    FROM pg_extension
    JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'pg_trgm';
    EXECUTE format('CREATE INDEX tokens_name_part ON catalogue.tokens USING gin (lower(token_name) %I.gin_trgm_ops)', home);
    EXECUTE format('CREATE INDEX actors_name_part ON catalogue.actors USING gin (lower(name) %I.gin_trgm_ops)', home);
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
        RAISE NOTICE 'searches have no index: %', SQLERRM;
END
$$;
-- +goose StatementEnd
