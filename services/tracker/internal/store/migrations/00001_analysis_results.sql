-- +goose Up

-- One row for each job. A row is made by whichever event of the job comes first
-- and is shown from its received on: until then version is 0, and token_id and
-- created_at are NULL.
CREATE TABLE tracker.analysis_results (
    job_id           uuid PRIMARY KEY,
    token_id         bigint,
    status           text NOT NULL DEFAULT 'processing'
        CHECK (status IN ('processing', 'completed', 'failed', 'canceled')),
    stage            text NOT NULL DEFAULT 'received',
    message          text NOT NULL DEFAULT '', -- the analysis server's own
    progress         integer NOT NULL DEFAULT 0
        CHECK (progress BETWEEN 0 AND 100),
    result           json,                     -- not jsonb, which refuses \u0000
    error_code       text,
    error_detail     text,
    error_retryable  boolean,
    version          bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    attempt          integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    state_seq        bigint NOT NULL DEFAULT 0, -- of the event that the status is from
    progress_attempt integer NOT NULL DEFAULT 0, -- the attempt that the progress is of
    message_seq      bigint NOT NULL DEFAULT 0, -- of the event that the message is from
    s3_bucket        text NOT NULL DEFAULT '',
    s3_key           text NOT NULL DEFAULT '',
    file_name        text NOT NULL DEFAULT '',
    media_type       text NOT NULL DEFAULT '',
    size             bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
    sha256           text NOT NULL DEFAULT '',
    duration         double precision NOT NULL DEFAULT 0,
    analysis_job_id  text NOT NULL DEFAULT '',
    created_at       timestamptz,
    updated_at       timestamptz,
    CHECK ((status = 'failed') = (error_code IS NOT NULL)),
    CHECK (status <> 'completed' OR progress = 100),
    CHECK ((version > 0) = (created_at IS NOT NULL)),
    CHECK ((created_at IS NULL) = (token_id IS NULL))
) WITH (fillfactor = 80); -- a row is rewritten about ten times, in its own page

CREATE INDEX analysis_results_newest ON tracker.analysis_results (created_at DESC, job_id)
    WHERE created_at IS NOT NULL;
