package loadgen

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Source is an HTTP server of recordings. It behaves as servers on the Internet do: depending on the recording, it breaks
// connections, refuses requests, sends slowly, or does not support ranges.
type Source struct {
	base   string
	seed   uint64
	server *http.Server
	served chan struct{}

	mu       sync.Mutex
	requests map[string]int // number of requests by path
}

// The faults of a source. The faults of a recording end after a few requests for it, so that its job succeeds when it is
// retried.
const (
	sourceBreaks  = 2                      // connections that break in the middle of a recording
	sourceRefuses = 4                      // requests that are answered 503: more than the tries of one fetch
	sourcePieces  = 10                     // pieces of a recording that is sent slowly
	sourcePause   = 100 * time.Millisecond // the pause between two pieces
	sourceTimeout = 10 * time.Second       // limit for the arrival of a request's header
)

// OpenSource starts a source. The seed determines its recordings.
func OpenSource(ctx context.Context, seed uint64) (*Source, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the source of recordings: %w", err)
	}
	s := &Source{base: "http://" + l.Addr().String(), seed: seed, served: make(chan struct{}), requests: map[string]int{}}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: sourceTimeout}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(l) // returns after Close
	}()
	return s, nil
}

// Close stops the source.
func (s *Source) Close() error {
	err := s.server.Close()
	<-s.served
	return err //nolint:wrapcheck // the error of the listener
}

// url returns the URL of a recording. Each name has faults of its own.
func (s *Source) url(name string, u upload) string {
	return fmt.Sprintf("%s/%d/%d/%d/%s", s.base, u.quirk, u.number, u.size, name)
}

// ServeHTTP implements http.Handler.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var number [3]uint64
	fields := strings.Split(path.Dir(r.URL.Path), "/")
	for i, text := range fields[1:] {
		number[i], _ = strconv.ParseUint(text, 10, 64) // cannot fail: the method url has made the path
	}
	file, sum := recording(s.seed, number[1], int(number[2]))
	s.mu.Lock()
	s.requests[r.URL.Path]++
	nth := s.requests[r.URL.Path]
	s.mu.Unlock()
	switch trouble := quirk(number[0]); {
	case trouble == aborts && nth <= sourceRefuses:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	case trouble == doubles:
		http.Redirect(w, r, strings.Replace(r.URL.Path, fmt.Sprintf("/%d/", doubles), fmt.Sprintf("/%d/", quirks), 1), http.StatusFound)
		return
	case trouble == leaves || trouble == damages:
		w = &unsteady{ResponseWriter: w, left: len(file) / 2, breaks: nth <= sourceBreaks}
	case trouble == lists:
		w = &unsteady{ResponseWriter: w, left: len(file) / sourcePieces, piece: len(file) / sourcePieces, gone: r.Context().Done()}
	}
	if quirk(number[0]) == damages || quirk(number[0]) == concatenates { // cannot resume
		w.Header().Set("Content-Type", "audio/wav")
		_, _ = w.Write(file)
		return
	}
	w.Header().Set("ETag", `"`+sum+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
}

// unsteady is a response writer that breaks the connection after some bytes, or pauses after each piece.
type unsteady struct {
	http.ResponseWriter
	left   int // bytes until the connection breaks or the next pause begins
	breaks bool
	piece  int             // bytes between two pauses; 0 if there are no pauses
	gone   <-chan struct{} // closed when the client has left
}

// Write implements http.ResponseWriter.
func (u *unsteady) Write(p []byte) (written int, err error) {
	for u.breaks || u.piece > 0 {
		n := min(u.left, len(p))
		m, err := u.ResponseWriter.Write(p[:n])
		written, p, u.left = written+m, p[n:], u.left-m
		if err != nil || len(p) == 0 {
			return written, err //nolint:wrapcheck // the contract of http.ResponseWriter
		}
		_ = http.NewResponseController(u.ResponseWriter).Flush() // if the client has left, the next write fails, too
		if u.breaks {
			panic(http.ErrAbortHandler) // makes net/http close the connection
		}
		select {
		case <-time.After(sourcePause):
		case <-u.gone:
		}
		u.left = u.piece
	}
	m, err := u.ResponseWriter.Write(p)
	return written + m, err //nolint:wrapcheck // as above
}
