-- +goose Up
CREATE TABLE catalogue.upload_keys (
    key_hash    bytea PRIMARY KEY CHECK (octet_length(key_hash) = 32),
    token_id    bigint NOT NULL,
    job_id      uuid NOT NULL,
    holder      uuid NOT NULL,
    sha256      bytea CHECK (octet_length(sha256) = 32), -- null while the upload is under way
    lease_until timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX upload_keys_expires_at ON catalogue.upload_keys (expires_at);
