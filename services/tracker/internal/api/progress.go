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
)

// The times of a stream.
const (
	firstReread  = time.Second      // what was lost at the beginning shows then
	writeTimeout = 10 * time.Second // a client that takes no frame for so long is dropped
	retry        = "retry: 2000\n"  // milliseconds until an EventSource comes back
	comeBack     = time.Second      // the least of that after a stop; up to twice as long
)

// progress streams a job's versions until its end.
func (a *API) progress(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	watch, err := a.Hub.Watch(r.Context(), id)
	if err != nil {
		return err
	}
	defer watch.Close()
	first, _, err := watch.Current(r.Context())
	if err != nil {
		return err
	}
	if first.Status == job.Erased { // which tells an EventSource to stay away, too
		return job.Gone()
	}
	seen := lastEventID(r)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Language")
	if first.Status.Ended() && seen >= first.Version {
		w.WriteHeader(http.StatusNoContent) // which tells an EventSource to stay away
		return nil
	}
	if seen > first.Version { // no version of this job: the client cannot have seen it
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
	s := &stream{api: a, watch: watch, w: w, control: http.NewResponseController(w), language: language, sent: seen}
	if err := s.run(r.Context()); err != nil && r.Context().Err() == nil {
		zerolog.Ctx(r.Context()).Debug().Err(err).Msg("stream cut")
	}
	return nil
}

// noneSeen is the last event id of a client that saw nothing.
const noneSeen int64 = -1

// lastEventID is the version that the client saw last. A malformed id counts as
// none.
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

// stream is one client's stream.
type stream struct {
	api      *API
	watch    *watch.Watch
	w        http.ResponseWriter
	control  *http.ResponseController
	language locale.Language
	sent     int64
}

// run sends what is new until the job has ended, the client left or the grace of
// a stop is nearly over. What fails to be read is read again a second later: the end may be
// late, but it comes.
func (s *stream) run(ctx context.Context) error {
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }() // for the connection's next request
	if err := s.open(ctx); err != nil {
		return err
	}
	again, beat := time.NewTimer(firstReread), time.NewTicker(s.api.opt.Heartbeat)
	defer again.Stop()
	defer beat.Stop()
	stopped, leave := s.api.stopped, (<-chan time.Time)(nil)
	for {
		v, news, err := s.watch.Current(ctx)
		if err != nil {
			again.Reset(firstReread)
		} else if err := s.send(v); err != nil || v.Status.Ended() {
			return err
		}
		select {
		case <-news:
		case <-again.C:
			s.reread(ctx)
		case <-beat.C:
			if err := s.write([]byte(": ping\n\n")); err != nil {
				return err
			}
			s.reread(ctx)
		case <-stopped: // spread out, since all of them will come back elsewhere
			stopped, leave = nil, time.After(s.api.opt.Hold+rand.N(s.api.opt.Drain+1))
		case <-leave:
			return s.write(handOver())
		case <-ctx.Done():
			return nil
		}
	}
}

// handOver is the last word of a stream whose job has not ended: when the client
// is to come again, which another replica answers.
func handOver() []byte {
	return fmt.Appendf(nil, "retry: %d\n\n", (comeBack + rand.N(comeBack)).Milliseconds())
}

// open sends the headers, with the first frame where there is one to send.
func (s *stream) open(ctx context.Context) error {
	v, _, err := s.watch.Current(ctx)
	if err == nil && v.Version > s.sent {
		frame, err := s.frame(v)
		if err != nil {
			return err
		}
		s.sent = v.Version
		return s.write(append([]byte(retry), frame...))
	}
	return s.write([]byte(retry + "\n"))
}

func (s *stream) reread(ctx context.Context) {
	if err := s.watch.Refresh(ctx); err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("job not read again")
	}
}

// send sends a version that the client has not seen.
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
	Progress      int          `json:"progress"`
	Message       string       `json:"message"`
	Analysis      string       `json:"analysis_message,omitempty"` // the analysis server's own words
	NextAttemptAt time.Time    `json:"next_attempt_at,omitzero"`   // while it waits for that server
	Refused       string       `json:"refused_code,omitempty"`     // while that server's last callback was refused: why
	Result        job.Result   `json:"result"`
	Error         *job.Failure `json:"error,omitempty"`
}

// frame renders a version, once for all streams of its language.
func (s *stream) frame(v *watch.Version) ([]byte, error) {
	return v.Render(string(s.language), func(now job.Snapshot) ([]byte, error) {
		var b bytes.Buffer
		fmt.Fprintf(&b, "id: %d\ndata: ", now.Version)
		data := json.NewEncoder(&b) // ends the line, and lets no line break through
		data.SetEscapeHTML(false)
		if err := data.Encode(frameBody{
			JobID: now.JobID, Status: lastStatus(now.Status), Progress: now.Progress,
			Message: now.Text(s.language), Analysis: now.Message, NextAttemptAt: now.NextAttemptAt, Refused: now.RefusedCode, Result: now.Result, Error: failure(now, s.language),
		}); err != nil {
			return nil, fmt.Errorf("encode a frame of job %s: %w", now.JobID, err)
		}
		b.WriteByte('\n')
		return b.Bytes(), nil
	})
}

// lastStatus is what a stream tells of a status. One whose job is erased ends as if
// it was canceled, which every client knows; whoever comes later is told more.
func lastStatus(s job.Status) job.Status {
	if s == job.Erased {
		return job.Canceled
	}
	return s
}
