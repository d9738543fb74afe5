-- +goose Up
CREATE TABLE catalogue.tokens (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_name      text NOT NULL CHECK (token_name <> ''),
    actor_name      text NOT NULL CHECK (actor_name <> ''),
    category        text,
    start_time      double precision NOT NULL,
    end_time        double precision NOT NULL,
    s3_textgrid_url text,
    s3_pitch_url    text,
    s3_bgvoice_url  text,
    youtube_url     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (start_time >= 0 AND start_time < end_time)
);
CREATE INDEX tokens_actor_name ON catalogue.tokens (actor_name);
CREATE INDEX tokens_category ON catalogue.tokens (category);
