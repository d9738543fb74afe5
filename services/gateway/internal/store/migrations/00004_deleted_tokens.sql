-- +goose Up

-- Tokens that are deleted, until the other services are certain to hear of it. A
-- row comes with the deletion, in one statement.
CREATE TABLE catalogue.deleted_tokens (
    token_id   bigint PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);
