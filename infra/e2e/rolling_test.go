package e2e_test

import (
	"context"
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

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/loadgen"
)

// balancer is a TCP proxy that forwards each connection to the next replica that accepts it.
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

// addReplicas adds replicas to which the balancer connects.
func (b *balancer) addReplicas(of []*harness.Process) {
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

// watch reads a job's stream until it ends. It returns an error unless the last frame is terminal. It
// sends to opened when the first event has arrived.
func watch(ctx context.Context, gateway, job string, opened chan<- struct{}) error {
	c := &client.Client{Base: gateway, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	stream, err := c.Stream(ctx, job, "", "")
	if err != nil {
		return err
	}
	defer stream.Close()
	last, seen := int64(-1), ""
	err = client.ReadFrames(stream, "", func(f client.Job) error {
		id, err := strconv.ParseInt(f.ID, 10, 64)
		if err != nil || id <= last {
			return fmt.Errorf("the id %s after %d", f.ID, last)
		}
		if last = id; seen == "" {
			opened <- struct{}{}
		}
		seen = f.Status
		return nil
	})
	if err != nil || seen != client.Completed {
		return fmt.Errorf("the stream ended with %q, %w", seen, err)
	}
	return nil
}

// watched calls the function disturb while streams of jobs are open through two replicas of the
// gateway and of the tracker, and checks that every stream ends with a terminal frame.
func watched(t *testing.T, delay time.Duration, disturb func(ctx context.Context, f *harness.Fleet) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	front, back := newBalancer(t), newBalancer(t)
	c := found(ctx, t, map[string]int{harness.Gateway: 2, harness.Tracker: 2}, map[string]string{
		"TRACKER_URL": back.url, "BEHAVIOUR_DELAY": delay.String(), "SHUTDOWN_GRACE": "25s",
	})
	front.addReplicas(c.Processes(harness.Gateway))
	back.addReplicas(c.Processes(harness.Tracker))
	const streams = 12
	opened, ended := make(chan struct{}, streams), make(chan error, streams)
	var done atomic.Int64
	for range streams {
		job, err := tryUpload(ctx, front.url, loadgen.Tone(220, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			ended <- watch(ctx, front.url, job, opened)
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
	if err := disturb(ctx, c.Fleet); err != nil {
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
	watched(t, 8*time.Second, func(ctx context.Context, f *harness.Fleet) error {
		for _, name := range []string{harness.Tracker, harness.Gateway} {
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
	watched(t, 8*time.Second, func(ctx context.Context, f *harness.Fleet) error {
		for _, p := range f.Processes(harness.Tracker) {
			p.Kill()
			if err := p.Start(ctx); err != nil {
				return fmt.Errorf("start %s again: %w", p.Name(), err)
			}
		}
		return nil
	})
}

// The jobs end within the grace period of the gateways. So a gateway that stops need not
// end its streams early, and it stops when the jobs have ended.
func TestAGatewayThatStopsKeepsItsStreams(t *testing.T) {
	t.Parallel()
	watched(t, 6*time.Second, func(ctx context.Context, f *harness.Fleet) error {
		both := make(chan error, 2)
		for _, p := range f.Processes(harness.Gateway) {
			go func() { both <- p.Stop(ctx) }()
		}
		return errors.Join(<-both, <-both)
	})
}
