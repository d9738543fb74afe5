-- +goose Up

-- What principals changed, and what they were denied. It refers to no other table: it
-- outlives what it names.
CREATE TABLE catalogue.audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    owner      text NOT NULL,
    key_id     text NOT NULL, -- empty: a token
    action     text NOT NULL,
    object     text NOT NULL,
    status     int NOT NULL,
    address    text NOT NULL,
    request_id text NOT NULL
);
CREATE INDEX audit_log_at ON catalogue.audit_log (at);
CREATE INDEX audit_log_owner ON catalogue.audit_log (owner, id);
