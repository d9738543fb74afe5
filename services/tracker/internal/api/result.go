package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/conditional"
	"sori.internal/shared/httpd"
	"sori.internal/shared/locale"
)

// jobBody has the members that all responses about a job have.
type jobBody struct {
	JobID         string       `json:"job_id"`
	Owner         string       `json:"owner,omitempty"` // if empty, only admins have access
	TokenID       string       `json:"token_id"`
	FileName      string       `json:"file_name"`
	Status        job.Status   `json:"status"`
	Stage         job.Stage    `json:"stage"`
	Progress      int          `json:"progress"`
	Message       string       `json:"message"`
	Analysis      string       `json:"analysis_message,omitempty"` // text that the analysis server sent
	Error         *job.Failure `json:"error"`
	CreatedAt     time.Time    `json:"created_at"`
	UpdatedAt     time.Time    `json:"updated_at"`
	NextAttemptAt time.Time    `json:"next_attempt_at,omitzero"` // only in the stage waiting
	WaitingCode   string       `json:"waiting_code,omitempty"`   // only in the stage waiting: why the job waits
	Refused       string       `json:"refused_code,omitempty"`   // only in the stage refused: why the callback was refused
	Fetch         job.Fetch    `json:"fetch,omitzero"`           // only in the stage fetching

	AudioExpiresAt time.Time `json:"audio_expires_at,omitzero"` // when the recording of an ended job will be deleted
	AudioDeletedAt time.Time `json:"audio_deleted_at,omitzero"`
}

func (a *API) bodyOf(s job.Snapshot, l locale.Language) jobBody {
	return jobBody{
		JobID: s.JobID, Owner: s.Owner, TokenID: strconv.FormatInt(s.TokenID, 10), FileName: s.FileName, Status: s.Status, Stage: s.Stage, Progress: s.Progress,
		Message: s.Text(l), Analysis: s.Message, Error: failure(s, l), CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
		NextAttemptAt: s.NextAttemptAt, WaitingCode: s.WaitingCode, Refused: s.RefusedCode, Fetch: s.Fetch,
		AudioExpiresAt: a.opt.Retention.AudioExpiry(s), AudioDeletedAt: s.AudioDeletedAt,
	}
}

// resultBody is the response to GET /tokens/analysis-result/{job_id}.
type resultBody struct {
	jobBody
	Result   job.Result   `json:"result"`
	Warnings job.Warnings `json:"warnings,omitempty"` // codes of the corrections that were made to the result
	Cached   bool         `json:"cached"`             // the result was copied from another job with the same recording
}

// failure returns the failure of a job with texts in the language l; nil if the job has not failed.
func failure(s job.Snapshot, l locale.Language) *job.Failure {
	if s.Status != job.Failed {
		return nil
	}
	f := s.Error.In(l)
	return &f
}

// entityTag returns the entity tag of a version in a language. It contains the time at which the
// recording expires, because this time changes if the operator changes the retention.
func (a *API) entityTag(s job.Snapshot, l locale.Language) string {
	if expiry := a.opt.Retention.AudioExpiry(s); !expiry.IsZero() {
		return fmt.Sprintf(`"%d-%s-%x"`, s.Version, l, expiry.Unix())
	}
	return fmt.Sprintf(`"%d-%s"`, s.Version, l)
}

// result responds with the job. If the request has a wait, result delays the response until the job
// changes or the wait is over.
func (a *API) result(w http.ResponseWriter, r *http.Request, id string) error {
	wait, applied, err := waitOf(r)
	if err != nil {
		return err
	}
	language, known := a.language(r), conditional.Parse(r.Header.Values("If-None-Match"))
	var s job.Snapshot
	if wait > 0 {
		s, err = a.longPoll(r.Context(), id, wait, func(first, now job.Snapshot) bool {
			if len(known.Tags) > 0 {
				return !known.MatchWeak(a.entityTag(now, language))
			}
			return now.Version != first.Version
		})
	} else {
		s, err = a.Reader.Find(r.Context(), id)
	}
	if err != nil {
		return err
	}
	if s.Status == job.Erased {
		return job.Gone()
	}
	h, tag := w.Header(), a.entityTag(s, language)
	h.Set("ETag", tag)
	h.Set("Vary", varyBy)
	h.Set("Cache-Control", "private, no-cache") // caches may store the answer, but must revalidate it
	if s.Cached {
		h.Set("Cache-Status", httpd.CacheHit)
	}
	if applied != "" {
		h.Set("Preference-Applied", applied)
	}
	if known.MatchWeak(tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Language", string(language))
	return sendResult(w, resultBody{jobBody: a.bodyOf(s, language), Result: s.Result, Warnings: s.Warnings, Cached: s.Cached})
}

// largeResult is the size in bytes from which a result is sent as it is stored.
const largeResult = 64 << 10

// sendResult responds with the job. It writes a large result as it is stored, because encoding it
// again would need several copies in memory.
func sendResult(w http.ResponseWriter, body resultBody) error {
	if len(body.Result) < largeResult {
		return httpd.JSON(w, http.StatusOK, body)
	}
	result := body.Result
	body.Result = ""
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	const member = `"result":` // no JSON string contains this text, since its quotes would be escaped
	before, after, _ := bytes.Cut(text, []byte(member+"null"))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	whole := io.MultiReader(bytes.NewReader(before), strings.NewReader(member), strings.NewReader(string(result)), bytes.NewReader(after))
	// The struct hides the method WriteTo, which would copy the whole result before it writes.
	_, _ = io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{whole}) // fails if the client has left
	return nil
}

// longPoll waits until the job has ended, or until changedFrom returns true for the first and the
// current version of the job. It also returns when the wait is over or the process stops. It
// returns the current version.
func (a *API) longPoll(ctx context.Context, id string, wait time.Duration, changedFrom func(first, now job.Snapshot) bool) (job.Snapshot, error) {
	watch, err := a.Hub.Watch(ctx, id)
	if err != nil {
		return job.Snapshot{}, err
	}
	defer watch.Close()
	v, changed, err := watch.Current(ctx)
	if err != nil {
		return job.Snapshot{}, err
	}
	first := v.Snapshot
	timeout, reread := time.NewTimer(wait), time.NewTimer(firstReread)
	defer timeout.Stop()
	defer reread.Stop()
	for !v.Status.Ended() && !changedFrom(first, v.Snapshot) {
		select {
		case <-changed:
		case <-reread.C:
			_ = watch.Refresh(ctx) // an error is ignored: a live update or the next read follows
			reread.Reset(a.opt.Heartbeat)
		case <-timeout.C:
			return v.Snapshot, nil
		case <-a.stopped:
			return v.Snapshot, nil
		case <-ctx.Done():
			return job.Snapshot{}, ctx.Err()
		}
		if v, changed, err = watch.Current(ctx); err != nil {
			return job.Snapshot{}, err
		}
	}
	return v.Snapshot, nil
}
