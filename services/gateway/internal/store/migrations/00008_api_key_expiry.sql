-- +goose Up

-- JSON cannot show a later expiry (RFC 3339): no list with such a key could be sent.
UPDATE catalogue.api_keys
SET expires_at = '9999-12-31 23:59:59+00'
WHERE expires_at >= '10000-01-01 00:00:00+00';
ALTER TABLE catalogue.api_keys
    ADD CONSTRAINT api_keys_expires_at CHECK (expires_at < '10000-01-01 00:00:00+00');
