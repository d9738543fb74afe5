package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const stall = 30 * time.Second

// sip is the maximum number of bytes that a slow server reads at a time. It is much less than a
// client writes at a time.
const sip = 64

// server is the behaviour of a server for one request on conn.
type server func(conn net.Conn)

// take reads n bytes, at most sip bytes at a time, with a pause after each read.
func take(conn net.Conn, n int, every time.Duration) {
	for buf := make([]byte, sip); n > 0; <-time.After(every) {
		m, err := conn.Read(buf)
		if err != nil {
			return
		}
		n -= m
	}
}

// put sends a body to a server over an unbuffered connection.
func put(t *testing.T, s server, body io.Reader) (text string, took time.Duration, err error) {
	t.Helper()
	near, far := net.Pipe()
	tr, err := transport(Config{Stall: stall})
	if err != nil {
		t.Fatal(err)
	}
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return stallConn{Conn: near, stall: stall}, nil
	}
	ended := make(chan struct{})
	go func() { defer close(ended); s(far) }()
	defer func() { _ = far.Close(); tr.CloseIdleConnections(); <-ended }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://s3/bucket/key", body)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", time.Since(start), err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return string(all), time.Since(start), err
}

const size = 10_000 // size of the body in bytes

// answer sends a response whose Content-Length is length, with text as its body, which may be
// shorter.
func answer(conn net.Conn, text string, length int) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, text)
}

// drain reads until the connection ends.
func drain(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func TestAServerThatStandsStillIsGivenUpInEveryStep(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]server{
		"before anything": func(net.Conn) {},
		"in the middle of the body": func(conn net.Conn) {
			take(conn, size/2, 0)
		},
		"before the answer": func(conn net.Conn) {
			drain(conn)
		},
		"in the middle of the answer": func(conn net.Conn) {
			go drain(conn)
			<-time.After(time.Second)
			answer(conn, "part", 100)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, took, err := put(t, s, strings.NewReader(strings.Repeat("x", size)))
				if !errors.Is(err, os.ErrDeadlineExceeded) || took < stall || took > 2*stall {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

func TestWhatMovesIsNeverCutHoweverSlow(t *testing.T) {
	t.Parallel()
	const every = stall - time.Second
	for name, s := range map[string]server{
		"the body": func(conn net.Conn) {
			take(conn, size, every)
			go drain(conn)
			answer(conn, "done", 4)
		},
		"the answer": func(conn net.Conn) {
			go drain(conn)
			<-time.After(every)
			answer(conn, "", 4)
			for _, c := range "done" {
				<-time.After(every)
				_, _ = conn.Write([]byte{byte(c)})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				text, took, err := put(t, s, strings.NewReader(strings.Repeat("x", size)))
				if text != "done" || err != nil {
					t.Errorf("after %v: %q %v", took, text, err)
				}
				if took < 5*every {
					t.Errorf("it took %v, which is not slow", took)
				}
			})
		})
	}
}

func TestAConnectionThatWasGivenUpTakesNoTimeAnyMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := stallConn{Conn: near, stall: stall}
		if _, err := c.Write([]byte("hello")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write that nobody takes: %v", err)
		}
		start := time.Now()
		if _, err := c.Write([]byte("goodbye")); err == nil || time.Since(start) > 0 {
			t.Errorf("the next one, after %v: %v", time.Since(start), err)
		}
	})
}
