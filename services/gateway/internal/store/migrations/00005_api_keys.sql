-- +goose Up
CREATE TABLE catalogue.api_keys (
    id           text PRIMARY KEY,
    owner        text NOT NULL CHECK (owner <> ''),
    name         text NOT NULL CHECK (name <> ''),
    scopes       text[] NOT NULL CHECK (cardinality(scopes) > 0),
    secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz, -- null: never
    last_used_at timestamptz, -- exact to a minute
    revoked_at   timestamptz
);
CREATE INDEX api_keys_owner ON catalogue.api_keys (owner, created_at, id);
CREATE INDEX api_keys_created_at ON catalogue.api_keys (created_at, id);
