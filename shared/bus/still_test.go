package bus_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// behind opens a bus whose server can be held.
func behind(t *testing.T) (*testkit.Kit, *bus.Bus, *testkit.Proxy) {
	t.Helper()
	k, _ := open(t)
	var cfg bus.Config
	k.Load(&cfg)
	proxy := k.Proxy(cfg.URL.Reveal())
	cfg.URL = config.Secret(proxy.URL)
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	must(t, b.Ping(k.Context()))
	return k, b, proxy
}

// endless is a body that comes as fast as it is read.
func endless() io.Reader {
	return readerFunc(func(p []byte) (int, error) { return len(p), nil })
}

// A server that takes nothing more fills the socket, and whoever then writes holds
// the connection's lock: all others would wait with it.
func TestAServerThatStandsStillHoldsNobodyUpForLong(t *testing.T) {
	t.Parallel()
	k, b, proxy := behind(t)
	held := proxy.Hold(1 << 20)
	began := time.Now()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := b.Stage(k.Context(), newJob(t), io.LimitReader(endless(), 8<<20)); !fault.Is(err, fault.Unavailable) {
				t.Errorf("stage: %v", err)
			}
			if took := time.Since(began); took > 12*time.Second {
				t.Errorf("an upload was held for %v", took)
			}
		})
	}
	<-held
	ctx, cancel := context.WithTimeout(k.Context(), time.Second)
	defer cancel()
	if err := b.Ping(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("ping: %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("a ping was held for %v", took)
	}
	wg.Wait()
	proxy.Restore()
	testkit.Eventually(t, func() error {
		_, err := b.Stage(k.Context(), newJob(t), io.LimitReader(endless(), 1<<20))
		return err
	})
}

// losing is a way to the server on which every request is lost, and pings are not:
// a cluster never answers what its leader took before it fell.
func losing(t *testing.T, server string) config.Secret {
	t.Helper()
	u, err := url.Parse(server)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", u.Host)
			if err != nil {
				t.Error(err)
				return
			}
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
			go func() { loseRequests(far, bufio.NewReader(near)); _ = far.Close() }()
		}
	}()
	return config.Secret("nats://" + l.Addr().String())
}

// loseRequests copies the protocol's lines, but for messages that name a subject to
// answer on.
func loseRequests(to io.Writer, from *bufio.Reader) {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return
		}
		words, body, lost := strings.Fields(line), 0, false
		switch words[0] {
		case "PUB":
			lost = len(words) == 4
		case "HPUB":
			lost = len(words) == 5
		}
		if strings.HasSuffix(words[0], "PUB") {
			size, _ := strconv.Atoi(words[len(words)-1])
			body = size + len("\r\n")
		}
		if lost {
			_, err = io.CopyN(io.Discard, from, int64(body))
		} else {
			_, err = io.CopyN(to, io.MultiReader(strings.NewReader(line), from), int64(len(line)+body))
		}
		if err != nil {
			return
		}
	}
}

// Whoever may wait for long, as a service that starts may, must be told that there
// is no answer, so that it asks again.
func TestAnAnswerIsNotAwaitedForAsLongAsTheCallerMay(t *testing.T) {
	t.Parallel()
	k, first := open(t)
	job := newJob(t)
	seq, err := first.Append(k.Context(), event.Received{JobID: job, TokenID: 1}, 0)
	must(t, err)
	staged, err := first.Stage(k.Context(), job, io.LimitReader(endless(), 1))
	must(t, err)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.URL = losing(t, cfg.URL.Reveal())
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	calls := unanswered(b, job, seq, staged)
	others := []string{"Consume", "ConsumeBatches", "Replay", // their callers say when to stop
		"Hint", "Ping"} // it awaits nothing; it is answered
	for m := range reflect.TypeFor[*bus.Bus]().Methods() {
		takesContext := m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]()
		if takesContext && calls[m.Name] == nil && !slices.Contains(others, m.Name) {
			t.Errorf("%s is not tried", m.Name)
		}
	}
	const tooLong = 30 * time.Second // of the two minutes that the context allows
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			began := time.Now()
			err := call(k.Context())
			if took := time.Since(began); took > tooLong || !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s: after %v: %v", name, took, err)
			}
		})
	}
	wg.Wait()
}

// unanswered are the calls that wait for an answer of the server, by name.
func unanswered(b *bus.Bus, job string, seq uint64, staged event.Staged) map[string]func(context.Context) error {
	e := event.Canceled{JobID: job}
	see := func(bus.Message, string) error { return nil }
	return map[string]func(context.Context) error{
		"Append": func(ctx context.Context) error { _, err := b.Append(ctx, e, seq); return err },
		"Decide": func(ctx context.Context) error {
			_, err := b.Decide(ctx, job, nil, func(event.Log) (event.Event, error) { return e, nil })
			return err
		},
		"DropLetter": func(ctx context.Context) error { return b.DropLetter(ctx, 1) },
		"Ensure":     func(ctx context.Context) error { return b.Ensure(ctx, event.Jobs()) },
		"Extent":     func(ctx context.Context) error { _, err := b.Extent(ctx, event.Jobs()); return err },
		"Forget":     func(ctx context.Context) error { return b.Forget(ctx, job, seq) },
		"Last": func(ctx context.Context) error {
			_, err := b.Last(ctx, event.Jobs(), event.LogSubject(job))
			return err
		},
		"LastProgress":  func(ctx context.Context) error { _, _, err := b.LastProgress(ctx, job); return err },
		"DeadLetter":    func(ctx context.Context) error { _, err := b.DeadLetter(ctx, 1); return err },
		"DeadLetters":   func(ctx context.Context) error { _, err := b.DeadLetters(ctx, ""); return err },
		"Log":           func(ctx context.Context) error { _, err := b.Log(ctx, job); return err },
		"OpenStaged":    func(ctx context.Context) error { _, err := b.OpenStaged(ctx, staged); return err },
		"Ready":         b.Ready,
		"Scan":          func(ctx context.Context) error { return b.Scan(ctx, event.Jobs(), true, []string{event.AllJobs}, see) },
		"Settled":       func(ctx context.Context) error { _, err := b.Settled(ctx, "c", seq); return err },
		"Stage":         func(ctx context.Context) error { _, err := b.Stage(ctx, job, io.LimitReader(endless(), 1)); return err },
		"StagedChunks":  func(ctx context.Context) error { _, err := b.StagedChunks(ctx, job); return err },
		"StagedEntries": func(ctx context.Context) error { _, err := b.StagedEntries(ctx); return err },
		"Standing":      func(ctx context.Context) error { _, _, err := b.Standing(ctx, "c"); return err },
		"Tell":          func(ctx context.Context) error { return b.Tell(ctx, event.Uploading{JobID: job}) },
		"Unstage":       func(ctx context.Context) error { return b.Unstage(ctx, job) },
	}
}

// Whatever a connection says that breaks in the middle of a write, it is away.
func TestAConnectionThatBreaksUnderAWriteIsUnavailable(t *testing.T) {
	t.Parallel()
	k, b, proxy := behind(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				_, err := b.Stage(k.Context(), newJob(t), io.LimitReader(endless(), 2<<20))
				if err != nil && !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Exhausted) {
					t.Errorf("stage: %v", err)
				}
			}
		})
	}
	for range 8 {
		held := proxy.Hold(3 << 20)
		select {
		case <-held:
		case <-time.After(2 * time.Second): // so much may not come: the connection is being made
		}
		proxy.Cut()
		proxy.Restore()
		testkit.Eventually(t, func() error { return b.Ping(k.Context()) })
	}
	stop.Store(true)
	wg.Wait()
	_, err := b.Append(k.Context(), event.Received{JobID: newJob(t), TokenID: 1}, 0)
	must(t, err)
}
