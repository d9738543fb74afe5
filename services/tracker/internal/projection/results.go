package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Staging stores large results until they are recorded.
type Staging interface {
	Open(ctx context.Context, s event.Staged) (io.Reader, error)
	Delete(ctx context.Context, entry string) error
}

// Logs reads the logs of jobs.
type Logs interface {
	Read(ctx context.Context, job string) (event.Log, error)
}

// results finds the results of completed jobs.
type results struct {
	staging Staging
	logs    Logs
	rows    Rows
}

// resultOf returns the result of the event `completed`, which is in the event itself or in staging.
func (r results) resultOf(ctx context.Context, ev event.Completed) (job.Result, error) {
	if ev.ResultEntry == "" {
		return job.Result(ev.Result), nil
	}
	text, err := r.read(ctx, event.Staged{Entry: ev.ResultEntry, Chunks: ev.ResultChunks})
	if errors.Is(err, event.ErrStagingGone) {
		return r.recorded(ctx, ev.JobID, err)
	}
	if err != nil {
		return "", err
	}
	if !json.Valid(text) {
		return "", fault.New(fault.Invalid, "result-malformed", "The result is not JSON.")
	}
	return job.Result(text), nil
}

// recorded returns the recorded result of a job whose result is not in staging any more. If the job
// is erased, it returns an empty result. In any other case the result is lost, and recorded returns
// an error.
func (r results) recorded(ctx context.Context, id string, gone error) (job.Result, error) {
	row, found, err := r.rows.Find(ctx, id)
	if err != nil {
		return "", err
	}
	if found && (row.Status == job.Completed || row.Status == job.Erased) {
		return row.Result, nil
	}
	log, err := r.logs.Read(ctx, id) // the event erased may be in the log, but not in the record yet
	if err != nil || log.Erased() {
		return "", err
	}
	return "", fault.Wrap(fault.Invalid, "result-lost", "The result was lost before it could be recorded.", gone)
}

func (r results) read(ctx context.Context, s event.Staged) ([]byte, error) {
	reader, err := r.staging.Open(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("open result %s: %w", s.Entry, err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("read result %s: %w", s.Entry, err)
	}
	return text, nil
}

// remove removes entries from staging.
func (r results) remove(ctx context.Context, entries []string) error {
	for _, entry := range entries {
		if err := r.staging.Delete(ctx, entry); err != nil {
			return err
		}
	}
	return nil
}
