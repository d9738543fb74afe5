package api

import (
	"bytes"
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
	firstReread  = time.Second      // time until the row is read again: a live update may be lost at the beginning
	writeTimeout = 10 * time.Second // a client that reads no frame for this time is disconnected
	retry        = "retry: 2000\n"  // milliseconds until an EventSource reconnects
	minRetry     = time.Second      // the shortest retry at a shutdown; the longest is twice that
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
	if first.Status == job.Erased { // 410 and 204 stop an EventSource
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
	if seen > first.Version { // the job has no such version, so the id is ignored
		seen = noneSeen
	}
	language := a.language(r)
	h.Set("Content-Type", "text/event-stream")
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

// noneSeen is the last event id of a client that has seen no event.
const noneSeen int64 = -1

// lastEventID returns the version that the client has seen last; noneSeen if the id is absent or
// malformed.
func lastEventID(r *http.Request) int64 {
	given := r.Header.Get("Last-Event-ID")
	if given == "" {
		given = r.URL.Query().Get("last_event_id")
	}
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
// has expired, or the shutdown ends the stream. If a read fails, it is repeated after a second, so
// that the last version may be late but is sent.
func (s *stream) run(ctx context.Context) error {
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }() // removes the deadline for the next request on this connection
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
		case <-stopped: // the ends are spread over Drain, since all clients reconnect to other replicas
			stopped, end = nil, time.After(s.api.opt.Hold+rand.N(s.api.opt.Drain+1))
		case <-end:
			return s.write(reconnect())
		case <-ctx.Done():
			return nil
		}
	}
}

// reconnect returns the last block of a stream whose job has not ended: the delay after which the
// client reconnects, to another replica or with new credentials.
func reconnect() []byte {
	return fmt.Appendf(nil, "retry: %d\n\n", (minRetry + rand.N(minRetry)).Milliseconds())
}

// open sends the headers. If there is a version that the client has not seen, open sends it too.
// It reports whether the job has ended with that version: a later one, with the rest of the
// progress, is not sent.
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

// send sends a version, unless the client has seen it already.
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
	Analysis      string       `json:"analysis_message,omitempty"` // the text of the analysis server
	NextAttemptAt time.Time    `json:"next_attempt_at,omitzero"`   // in the stage waiting
	WaitingCode   string       `json:"waiting_code,omitempty"`     // in the stage waiting: the reason
	Refused       string       `json:"refused_code,omitempty"`     // in the stage refused: the code of the refusal
	Fetch         job.Fetch    `json:"fetch,omitzero"`             // in the stage fetching
	Result        job.Result   `json:"result"`
	Warnings      job.Warnings `json:"warnings,omitempty"` // codes of the corrections in the analysis server's report
	Cached        bool         `json:"cached,omitempty"`   // the result is that of another job with the same recording
	Error         *job.Failure `json:"error,omitempty"`
}

// frame renders a version as a frame. All streams with the same language share the result.
func (s *stream) frame(v *watch.Version) ([]byte, error) {
	return v.Render(string(s.language), func(now job.Snapshot) ([]byte, error) {
		var b bytes.Buffer
		fmt.Fprintf(&b, "id: %d\ndata: ", now.Version)
		data := json.NewEncoder(&b) // ends the line, and escapes line breaks in the data
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

// frameStatus returns the status that a stream shows. The stream of an erased job ends with the
// status canceled, which every client knows. Later requests are answered with 410.
func frameStatus(s job.Status) job.Status {
	if s == job.Erased {
		return job.Canceled
	}
	return s
}
