-- +goose Up
ALTER TABLE catalogue.tokens ADD COLUMN version bigint NOT NULL DEFAULT 1;

CREATE TABLE catalogue.scripts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id    bigint NOT NULL REFERENCES catalogue.tokens ON DELETE CASCADE,
    start_time  double precision NOT NULL,
    end_time    double precision NOT NULL,
    script      text NOT NULL CHECK (script <> ''),
    translation text,
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (start_time >= 0 AND start_time < end_time)
);
CREATE INDEX scripts_time_line ON catalogue.scripts (token_id, start_time, id);

CREATE TABLE catalogue.actors (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (name <> ''),
    version    bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
