package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/tone"
)

// balancer is a proxy that gives each connection to the next replica that takes it.
type balancer struct {
	url string

	mu       sync.Mutex
	replicas []string
	next     int
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{url: "http://" + l.Addr().String()}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	return b
}

// to sets the replicas.
func (b *balancer) to(of []*fleet.Process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range of {
		b.replicas = append(b.replicas, strings.TrimPrefix(p.URL(), "http://"))
	}
}

func (b *balancer) dial() (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := errors.New("no replica")
	for range b.replicas {
		b.next++
		var c net.Conn
		if c, err = net.Dial("tcp", b.replicas[b.next%len(b.replicas)]); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	replica, err := b.dial()
	if err != nil {
		return
	}
	defer replica.Close()
	over := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, replica}, {replica, client}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			over <- struct{}{}
		}()
	}
	<-over
}

// watch reads a job's stream to its end, which must be that of the job, and tells
// when its first event is there.
func watch(ctx context.Context, url string, opened chan<- struct{}) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	last, seen := int64(-1), ""
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil || id <= last {
				return fmt.Errorf("the id %s after %d", text, last)
			}
			last = id
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var frame struct{ Status string }
			if err := json.Unmarshal([]byte(text), &frame); err != nil {
				return err
			}
			if seen == "" {
				opened <- struct{}{}
			}
			seen = frame.Status
		}
	}
	if err := lines.Err(); err != nil || seen != "completed" {
		return fmt.Errorf("the stream ended with %q, %w", seen, err)
	}
	return nil
}

// watched runs disturb while streams of jobs are open behind two replicas of the
// gateway and of the tracker, and wants every stream to tell its job's end.
func watched(t *testing.T, delay time.Duration, disturb func(ctx context.Context, f *fleet.Fleet) error) {
	t.Helper()
	front, back := newBalancer(t), newBalancer(t)
	c := found(t, map[string]int{fleet.Gateway: 2, fleet.Tracker: 2}, map[string]string{
		"TRACKER_URL": back.url, "BEHAVIOUR_DELAY": delay.String(), "SHUTDOWN_GRACE": "25s",
	})
	front.to(c.fleet.Processes(fleet.Gateway))
	back.to(c.fleet.Processes(fleet.Tracker))
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	const streams = 12
	opened, ended := make(chan struct{}, streams), make(chan error, streams)
	var done atomic.Int64
	for range streams {
		job, err := tryUpload(ctx, front.url, tone.WAV(220, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			ended <- watch(ctx, front.url+"/tokens/analysis-progress/"+job, opened)
			done.Add(1)
		}()
	}
	for range streams {
		select {
		case <-opened:
		case <-ctx.Done():
			t.Fatal("the streams do not open")
		}
	}
	if n := done.Load(); n > 0 {
		t.Fatalf("%d streams had ended before anything happened", n)
	}
	if err := disturb(ctx, c.fleet); err != nil {
		t.Fatal(err)
	}
	for range streams {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestARollingRestartBreaksNoStreamOfAJobThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	watched(t, 8*time.Second, func(ctx context.Context, f *fleet.Fleet) error {
		for _, name := range []string{fleet.Tracker, fleet.Gateway} {
			for _, p := range f.Processes(name) {
				if err := p.Restart(ctx); err != nil {
					return fmt.Errorf("restart %s: %w", p.Name(), err)
				}
			}
		}
		return nil
	})
}

func TestAKilledTrackerBreaksNoStream(t *testing.T) {
	t.Parallel()
	watched(t, 8*time.Second, func(ctx context.Context, f *fleet.Fleet) error {
		for _, p := range f.Processes(fleet.Tracker) {
			p.Kill()
			if err := p.Start(ctx); err != nil {
				return fmt.Errorf("start %s again: %w", p.Name(), err)
			}
		}
		return nil
	})
}

// A gateway that stops while jobs run for longer than its grace hands over; this
// one stops while they end within it, and takes no longer than they do.
func TestAGatewayThatStopsKeepsItsStreams(t *testing.T) {
	t.Parallel()
	watched(t, 6*time.Second, func(ctx context.Context, f *fleet.Fleet) error {
		both := make(chan error, 2)
		for _, p := range f.Processes(fleet.Gateway) {
			go func() { both <- p.Stop(ctx) }()
		}
		return errors.Join(<-both, <-both)
	})
}
