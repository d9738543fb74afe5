package app_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// frame is a block of the stream: a server-sent event, or a comment, which has no other field.
type frame struct {
	id      int64
	retry   string
	comment string
	data    string
	at      time.Time
	body    struct {
		JobID    string          `json:"job_id"`
		Status   string          `json:"status"`
		Stage    string          `json:"stage"`
		Progress int             `json:"progress"`
		Message  string          `json:"message"`
		Analysis string          `json:"analysis_message"`
		NextTry  time.Time       `json:"next_attempt_at"`
		Result   json.RawMessage `json:"result"`
		Warnings []string        `json:"warnings"`
		Error    json.RawMessage `json:"error"`
	}
}

// stream is an open response of the progress route.
type stream struct {
	t      testing.TB
	status int
	header http.Header
	body   io.ReadCloser
	lines  *bufio.Scanner
}

func (c *env) stream(url string, headers map[string]string) *stream {
	c.t.Helper()
	resp := c.send(c.Context(), http.MethodGet, url, headers)
	c.t.Cleanup(func() { _ = resp.Body.Close() })
	return newStream(c.t, resp)
}

func newStream(t testing.TB, resp *http.Response) *stream {
	t.Helper()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 8<<20)
	return &stream{t: t, status: resp.StatusCode, header: resp.Header, body: resp.Body, lines: lines}
}

// block reads the next frame, of any kind. It returns false if the stream has ended.
func (s *stream) block() (frame, bool) {
	f := frame{id: -1}
	some := false
	for s.lines.Scan() {
		line := s.lines.Text()
		if line == "" && some {
			f.at = time.Now()
			return f, true
		}
		some = true
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "id":
			f.id, _ = strconv.ParseInt(value, 10, 64)
		case "retry":
			f.retry = value
		case "data":
			f.data = value
			if err := json.Unmarshal([]byte(value), &f.body); err != nil {
				s.t.Errorf("frame %q: %v", value, err)
			}
		case "":
			f.comment = value
		default:
			s.t.Errorf("line %q", line)
		}
	}
	return f, false
}

// next returns the next frame that has data. It skips comments.
func (s *stream) next() frame {
	s.t.Helper()
	for {
		f, ok := s.block()
		if !ok {
			s.t.Fatalf("the stream ended: %v", s.lines.Err())
		}
		if f.data != "" {
			return f
		}
	}
}

// rest reads all frames until the stream ends. The test fails if the stream ends with an error.
func (s *stream) rest() []frame {
	s.t.Helper()
	var frames []frame
	for {
		f, ok := s.block()
		if !ok {
			if err := s.lines.Err(); err != nil {
				s.t.Fatalf("the stream broke: %v", err)
			}
			return frames
		}
		if f.data != "" {
			frames = append(frames, f)
		}
	}
}
