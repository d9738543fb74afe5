package bus_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/url"
	"path"
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
	"sori.internal/shared/coordination"
	"sori.internal/shared/deadletter"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// openBehindProxy opens a bus whose connection goes through a proxy that can hold its messages.
func openBehindProxy(t *testing.T) (*testkit.Kit, *bus.Bus, *testkit.Proxy) {
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

// endless returns a body without an end.
func endless() io.Reader {
	return readerFunc(func(p []byte) (int, error) { return len(p), nil })
}

// If a server stops reading, the buffer of the socket fills, and the goroutine that writes holds
// the lock of the connection: all other users of the connection would wait for the lock.
func TestAServerThatHangsBlocksNobodyForLong(t *testing.T) {
	t.Parallel()
	k, b, proxy := openBehindProxy(t)
	held := proxy.Hold(1 << 20)
	began := time.Now()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := staging.New(b).Put(k.Context(), k.NewJob(), io.LimitReader(endless(), 8<<20)); !fault.Is(err, fault.Unavailable) {
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
		_, err := staging.New(b).Put(k.Context(), k.NewJob(), io.LimitReader(endless(), 1<<20))
		return err
	})
}

// startLossyProxy starts a proxy to the server. The proxy drops every request, but no ping. A
// cluster does not answer requests that a leader received before it failed.
func startLossyProxy(t *testing.T, server string) config.Secret {
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
	through := *u
	through.Host = l.Addr().String()
	return config.Secret(through.String())
}

// loseRequests forwards the lines of the NATS protocol and drops messages with a reply subject:
// these are requests.
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

// The context of a caller may have a late deadline, for example while a service starts. If there is
// no response, the caller must get an error early, so that it can repeat the request.
func TestAnAnswerIsNotAwaitedForAsLongAsTheCallerMay(t *testing.T) {
	t.Parallel()
	k, first := open(t)
	job := k.NewJob()
	seq, err := joblog.New(first).Append(k.Context(), event.Received{JobID: job, TokenID: 1}, 0)
	must(t, err)
	staged, err := staging.New(first).Put(k.Context(), job, io.LimitReader(endless(), 1))
	must(t, err)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.URL = startLossyProxy(t, cfg.URL.Reveal())
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	calls := unanswered(b, job, seq, staged)
	checkEveryMethodIsTried(t, calls)
	const tooLong = 30 * time.Second // less than the two minutes that the context allows
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

// checkEveryMethodIsTried checks that calls contains every method that waits for a response.
func checkEveryMethodIsTried(t *testing.T, calls map[string]func(context.Context) error) {
	t.Helper()
	others := []string{
		"Bus.Consume", "Bus.ConsumeBatches", "Bus.Replay", "deadletter.Replay", // the caller limits how long these wait
		"Bus.PublishAsync", "Bus.Ping", // PublishAsync does not wait, and the proxy forwards pings
	}
	for _, of := range []reflect.Type{
		reflect.TypeFor[*bus.Bus](), reflect.TypeFor[*bus.Stream](), reflect.TypeFor[*joblog.Store](),
		reflect.TypeFor[*staging.Store](), reflect.TypeFor[*deadletter.Store](),
		reflect.TypeFor[*coordination.Flag](),
	} {
		for m := range of.Methods() {
			name := of.Elem().Name() + "." + m.Name
			if of.Elem().Name() == "Store" {
				name = path.Base(of.Elem().PkgPath()) + "." + m.Name
			}
			takesContext := m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]()
			if takesContext && calls[name] == nil && !slices.Contains(others, name) {
				t.Errorf("%s is not tried", name)
			}
		}
	}
}

// unanswered returns the calls that wait for a response of the server, by name.
func unanswered(b *bus.Bus, job string, seq uint64, staged event.Staged) map[string]func(context.Context) error {
	e := event.Canceled{JobID: job}
	jobs, stream := event.Jobs(), b.Stream(event.Jobs())
	logs, entries, dead := joblog.New(b), staging.New(b), deadletter.New(b)
	flag := coordination.NewFlag(b, "FLAGS", "a")
	return map[string]func(context.Context) error{
		"Bus.ConsumerState": func(ctx context.Context) error { _, _, err := b.ConsumerState(ctx, "c"); return err },
		"Bus.Ensure":        func(ctx context.Context) error { return b.Ensure(ctx, jobs) },
		"Bus.Provision": func(ctx context.Context) error {
			_, err := b.Provision(ctx, bus.Resources{Streams: []event.Stream{event.Jobs()}})
			return err
		},
		"Bus.KeyValue": func(ctx context.Context) error { _, err := b.KeyValue(ctx, "FLAGS"); return err },
		"Bus.Publish":  func(ctx context.Context) error { return b.Publish(ctx, event.Uploading{JobID: job}) },
		"Bus.PublishExpecting": func(ctx context.Context) error {
			_, err := b.PublishExpecting(ctx, e, event.LogSubject(job), seq)
			return err
		},
		"Bus.PublishBytesExpecting": func(ctx context.Context) error {
			_, err := b.PublishBytesExpecting(ctx, event.StagingSubject(job, 1), nil, event.StagingFilter(job), 1)
			return err
		},
		"Bus.Ready":   b.Ready,
		"Bus.Settled": func(ctx context.Context) error { _, err := b.Settled(ctx, "c", seq); return err },

		"Stream.Delete": func(ctx context.Context) error { return stream.Delete(ctx, seq) },
		"Stream.Get":    func(ctx context.Context) error { _, err := stream.Get(ctx, seq); return err },
		"Stream.Info":   func(ctx context.Context) error { _, err := stream.Info(ctx); return err },
		"Stream.Last":   func(ctx context.Context) error { _, err := stream.Last(ctx, event.LogSubject(job)); return err },
		"Stream.LastFromLeader": func(ctx context.Context) error {
			_, err := stream.LastFromLeader(ctx, event.LogSubject(job))
			return err
		},
		"Stream.LastOfAll": func(ctx context.Context) error {
			_, err := stream.LastOfAll(ctx, event.LogSubject(job))
			return err
		},
		"Stream.LastPerSubject": func(ctx context.Context) error {
			_, err := stream.LastPerSubject(ctx, event.LogSubject(job))
			return err
		},
		"Stream.NextFromLeader": func(ctx context.Context) error {
			_, err := stream.NextFromLeader(ctx, event.LogSubject(job), seq)
			return err
		},
		"Stream.Purge": func(ctx context.Context) error { return stream.Purge(ctx, event.LogSubject(job), seq) },
		"Stream.Scan": func(ctx context.Context) error {
			return stream.Scan(ctx, true, []string{event.AllJobs}, func(bus.Message) error { return nil })
		},
		"Stream.Subjects": func(ctx context.Context) error { _, err := stream.Subjects(ctx, event.AllJobs); return err },

		"joblog.Append":       func(ctx context.Context) error { _, err := logs.Append(ctx, e, seq); return err },
		"joblog.LastProgress": func(ctx context.Context) error { _, _, err := logs.LastProgress(ctx, job); return err },
		"joblog.LastWaiting":  func(ctx context.Context) error { _, _, err := logs.LastWaiting(ctx, job); return err },
		"joblog.Newest":       func(ctx context.Context) error { _, err := logs.Newest(ctx, job); return err },
		"joblog.Purge":        func(ctx context.Context) error { return logs.Purge(ctx, job, seq) },
		"joblog.Read":         func(ctx context.Context) error { _, err := logs.Read(ctx, job); return err },
		"joblog.Received":     func(ctx context.Context) error { _, _, err := logs.Received(ctx, job); return err },
		"joblog.Update": func(ctx context.Context) error {
			_, err := logs.Update(ctx, job, nil, func(event.Log) (event.Event, error) { return e, nil })
			return err
		},

		"staging.Chunks":  func(ctx context.Context) error { _, err := entries.Chunks(ctx, job); return err },
		"staging.Delete":  func(ctx context.Context) error { return entries.Delete(ctx, job) },
		"staging.Entries": func(ctx context.Context) error { _, err := entries.Entries(ctx); return err },
		"staging.Open":    func(ctx context.Context) error { _, err := entries.Open(ctx, staged); return err },
		"staging.Put": func(ctx context.Context) error {
			_, err := entries.Put(ctx, job, io.LimitReader(endless(), 1))
			return err
		},

		"deadletter.Delete":      func(ctx context.Context) error { return dead.Delete(ctx, 1) },
		"deadletter.DeleteOfJob": func(ctx context.Context) error { return dead.DeleteOfJob(ctx, job) },
		"deadletter.Get":         func(ctx context.Context) error { _, err := dead.Get(ctx, 1); return err },
		"deadletter.List":        func(ctx context.Context) error { _, err := dead.List(ctx, ""); return err },

		"Flag.IsSet": func(ctx context.Context) error { _, err := flag.IsSet(ctx); return err },
		"Flag.Set":   flag.Set,
	}
}

// If a connection breaks during a write, the error means that the bus is unavailable, whatever
// error the connection returns.
func TestAConnectionThatBreaksDuringAWriteIsUnavailable(t *testing.T) {
	t.Parallel()
	k, b, proxy := openBehindProxy(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				_, err := staging.New(b).Put(k.Context(), k.NewJob(), io.LimitReader(endless(), 2<<20))
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
		case <-time.After(2 * time.Second): // the client may still be connecting, so that it sends fewer bytes
		}
		proxy.Cut()
		proxy.Restore()
		testkit.Eventually(t, func() error { return b.Ping(k.Context()) })
	}
	stop.Store(true)
	wg.Wait()
	_, err := joblog.New(b).Append(k.Context(), event.Received{JobID: k.NewJob(), TokenID: 1}, 0)
	must(t, err)
}
