-- +goose Up

-- A job also waits in the queue of the dispatcher, which tells no time.
ALTER TABLE tracker.analysis_results
    DROP CONSTRAINT analysis_results_check4,
    ADD CHECK (stage <> 'waiting' OR wait_seq > 0);
