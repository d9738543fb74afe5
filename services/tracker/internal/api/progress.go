package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/services/tracker/internal/watch"
	"sori.internal/shared/locale"
	"sori.internal/shared/principal"
)

// The durations of a stream.
const (
	firstReread  = time.Second      // time until the first further read of the record, since the first live update may be lost
	writeTimeout = 10 * time.Second // a client is disconnected if a write to it takes longer
	retry        = "retry: 2000\n"  // the EventSource reconnects after 2000 ms
	minRetry     = time.Second      // shortest delay until clients reconnect after a shutdown; the longest is twice as long
)

// progress streams the versions of a job until it has ended.
func (a *API) progress(w http.ResponseWriter, r *http.Request, id string) error {
	watch, err := a.Hub.Watch(r.Context(), id)
	if err != nil {
		return err
	}
	defer watch.Close()
	first, _, err := watch.Current(r.Context())
	if err != nil {
		return err
	}
	if first.Status == job.Erased { // the problem with status 410 stops an EventSource
		return job.Gone()
	}
	seen := lastEventID(r)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", varyBy)
	if first.Status.Ended() && seen >= first.Version {
		w.WriteHeader(http.StatusNoContent) // 204 stops an EventSource
		return nil
	}
	if seen > first.Version { // the id is ignored, since the job has no such version
		seen = noneSeen
	}
	language := a.language(r)
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform") // a proxy that compresses a stream holds its events back
	h.Set("Content-Language", string(language))
	h.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return nil
	}
	a.streams.Add(1)
	defer a.streams.Add(-1)
	s := &stream{
		api: a, watch: watch, w: w, control: http.NewResponseController(w), language: language, sent: seen,
		reader: principal.From(r.Context()),
	}
	if err := s.run(r.Context()); err != nil && r.Context().Err() == nil {
		zerolog.Ctx(r.Context()).Debug().Err(err).Msg("stream broken")
	}
	return nil
}

// noneSeen stands for the last event id of a client that has received no event.
const noneSeen int64 = -1

// lastEventID returns the id of the last event that the client has received, which is a version of
// the job. It returns noneSeen if the id is absent or malformed. The package event-source-polyfill
// sends the id in lastEventId, since the header would need a CORS preflight.
func lastEventID(r *http.Request) int64 {
	query := r.URL.Query()
	given := cmp.Or(r.Header.Get("Last-Event-ID"), query.Get("last_event_id"), query.Get("lastEventId"))
	if id, err := strconv.ParseInt(given, 10, 64); err == nil && id >= 0 {
		return id
	}
	return noneSeen
}

// stream is the stream of one client.
type stream struct {
	api      *API
	watch    *watch.Watch
	w        http.ResponseWriter
	control  *http.ResponseController
	language locale.Language
	sent     int64
	reader   principal.Principal
}

// run sends new versions until the job has ended, the client has disconnected, its authentication
// has expired, or the shutdown ends the stream. A read that fails is repeated after a second.
// Therefore the last version may be late, but it is sent.
func (s *stream) run(ctx context.Context) error {
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }() // the next request on this connection must not inherit the deadline
	if ended, err := s.open(ctx); err != nil || ended {
		return err
	}
	reread, heartbeat := time.NewTimer(firstReread), time.NewTicker(s.api.opt.Heartbeat)
	defer reread.Stop()
	defer heartbeat.Stop()
	stopped, end := s.api.stopped, (<-chan time.Time)(nil)
	for {
		v, changed, err := s.watch.Current(ctx)
		if err != nil {
			reread.Reset(firstReread)
		} else if err := s.send(v); err != nil || v.Status.Ended() {
			return err
		}
		select {
		case <-changed:
		case <-reread.C:
			s.refresh(ctx)
		case now := <-heartbeat.C:
			if s.reader.Expired(now) {
				return s.write(reconnect())
			}
			if err := s.write([]byte(": ping\n\n")); err != nil {
				return err
			}
			s.refresh(ctx)
		case <-stopped: // the random delay spreads the reconnects of all clients over Drain
			stopped, end = nil, time.After(s.api.opt.Hold+rand.N(s.api.opt.Drain+1))
		case <-end:
			return s.write(reconnect())
		case <-ctx.Done():
			return nil
		}
	}
}

// reconnect returns the last block of a stream whose job has not ended: the delay after which the
// client reconnects. The client may then reach another replica, or use new credentials.
func reconnect() []byte {
	return fmt.Appendf(nil, "retry: %d\n\n", (minRetry + rand.N(minRetry)).Milliseconds())
}

// open sends the headers, and the current version if the client has not received it yet. It reports
// whether the job has ended with this version: then no later version is sent, even if late progress
// makes one.
func (s *stream) open(ctx context.Context) (ended bool, err error) {
	v, _, err := s.watch.Current(ctx)
	if err == nil && v.Version > s.sent {
		frame, err := s.frame(v)
		if err != nil {
			return false, err
		}
		s.sent = v.Version
		return v.Status.Ended(), s.write(append([]byte(retry), frame...))
	}
	return false, s.write([]byte(retry + "\n"))
}

func (s *stream) refresh(ctx context.Context) {
	if err := s.watch.Refresh(ctx); err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("read of job failed")
	}
}

// send sends a version, unless the client has received it already.
func (s *stream) send(v *watch.Version) error {
	if v.Version <= s.sent {
		return nil
	}
	frame, err := s.frame(v)
	if err != nil {
		return err
	}
	s.sent = v.Version
	return s.write(frame)
}

func (s *stream) write(p []byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set a write deadline: %w", err)
	}
	if _, err := s.w.Write(p); err != nil {
		return fmt.Errorf("write to a stream: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("flush a stream: %w", err)
	}
	return nil
}

// frameBody is the data of a frame.
type frameBody struct {
	JobID         string       `json:"job_id"`
	Status        job.Status   `json:"status"`
	Stage         job.Stage    `json:"stage"`
	Progress      int          `json:"progress"`
	Message       string       `json:"message"`
	Analysis      string       `json:"analysis_message,omitempty"` // text that the analysis server sent
	NextAttemptAt time.Time    `json:"next_attempt_at,omitzero"`   // only in the stage waiting
	WaitingCode   string       `json:"waiting_code,omitempty"`     // only in the stage waiting: why the job waits
	Refused       string       `json:"refused_code,omitempty"`     // only in the stage refused: why the callback was refused
	Fetch         job.Fetch    `json:"fetch,omitzero"`             // only in the stage fetching
	Result        job.Result   `json:"result"`
	Warnings      job.Warnings `json:"warnings,omitempty"` // codes of the corrections that were made to the result
	Cached        bool         `json:"cached,omitempty"`   // the result was copied from another job with the same recording
	Error         *job.Failure `json:"error,omitempty"`
}

// frame encodes a version as a frame of the stream. Streams with the same language share the
// encoded frame.
func (s *stream) frame(v *watch.Version) ([]byte, error) {
	return v.Render(string(s.language), func(now job.Snapshot) ([]byte, error) {
		var b bytes.Buffer
		fmt.Fprintf(&b, "id: %d\ndata: ", now.Version)
		data := json.NewEncoder(&b) // Encode appends a newline, and JSON escapes line breaks
		data.SetEscapeHTML(false)
		if err := data.Encode(frameBody{
			JobID: now.JobID, Status: frameStatus(now.Status), Stage: now.Stage, Progress: now.Progress,
			Message: now.Text(s.language), Analysis: now.Message, NextAttemptAt: now.NextAttemptAt, WaitingCode: now.WaitingCode, Refused: now.RefusedCode, Fetch: now.Fetch,
			Result: now.Result, Warnings: now.Warnings, Cached: now.Cached, Error: failure(now, s.language),
		}); err != nil {
			return nil, fmt.Errorf("encode a frame of job %s: %w", now.JobID, err)
		}
		b.WriteByte('\n')
		return b.Bytes(), nil
	})
}

// frameStatus returns the status that a frame contains. For an erased job it is canceled, which
// every client knows, and which ends the stream. Later requests are answered with 410.
func frameStatus(s job.Status) job.Status {
	if s == job.Erased {
		return job.Canceled
	}
	return s
}
