package joblog_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

func open(t *testing.T) (*testkit.Kit, *bus.Bus, *joblog.Store) {
	t.Helper()
	k := testkit.New(t)
	b := k.Bus("tester", event.Jobs(), event.Dead(), event.Staging())
	return k, b, joblog.New(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnAppendNeedsTheLogToEndWhereItsWriterSawItEnd(t *testing.T) {
	t.Parallel()
	k, b, logs := open(t)
	ctx, job := k.Context(), k.NewJob()
	first, err := logs.Append(ctx, event.Received{JobID: job}, 0)
	must(t, err)
	again, err := logs.Append(ctx, event.Received{JobID: job}, 0)
	if err != nil || again != first {
		t.Errorf("a repetition: %d %v", again, err)
	}
	if _, err := logs.Append(ctx, event.Stored{JobID: job}, first+7); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("from a log that never was: %v", err)
	}
	second, err := logs.Append(ctx, event.Stored{JobID: job}, first)
	must(t, err)
	if _, err := logs.Append(ctx, event.Canceled{JobID: job}, first); !errors.Is(err, event.ErrLogConflict) {
		t.Errorf("from an old log: %v", err)
	}
	must(t, b.Publish(ctx, event.Uploading{JobID: job, Bytes: 1, Size: 2})) // progress is not part of the log
	log, err := logs.Read(ctx, job)
	must(t, err)
	if len(log) != 2 || log.Seq() != second || log[0].Event != (event.Received{JobID: job}) {
		t.Errorf("log %+v", log)
	}
	if log, err := logs.Read(ctx, k.NewJob()); err != nil || len(log) != 0 {
		t.Errorf("a job that does not exist has the log %+v, %v", log, err)
	}
}

func TestOfManyWritersOneEndsAJob(t *testing.T) {
	t.Parallel()
	k, _, logs := open(t)
	ctx := k.Context()
	for range 20 {
		job := k.NewJob()
		_, err := logs.Append(ctx, event.Received{JobID: job}, 0)
		must(t, err)
		terminal := []event.Event{
			event.Completed{JobID: job, Attempt: 1, Result: json.RawMessage(`{}`)}, event.Canceled{JobID: job},
			event.Failed{JobID: job, Attempt: 1, Code: "x"}, event.Failed{JobID: job, Code: "y"},
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		wins := 0
		for _, e := range terminal {
			wg.Go(func() {
				won := false
				_, err := logs.Update(ctx, job, nil, func(log event.Log) (event.Event, error) {
					if _, ended := log.Terminal(); ended {
						won = false
						return nil, nil
					}
					won = true
					return e, nil
				})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if won {
					wins++
				}
			})
		}
		wg.Wait()
		log, err := logs.Read(ctx, job)
		must(t, err)
		if wins != 1 || len(log) != 2 {
			t.Fatalf("%d writers won, log %+v", wins, log)
		}
	}
}

func TestAnErrorOfDecideIsReturnedAndAppendsNothing(t *testing.T) {
	t.Parallel()
	k, _, logs := open(t)
	job, refused := k.NewJob(), errors.New("refused")
	if _, err := logs.Update(k.Context(), job, nil, func(event.Log) (event.Event, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	if log, err := logs.Read(k.Context(), job); err != nil || len(log) != 0 {
		t.Errorf("%v %v", log, err)
	}
}

// Two writers may append events with the same id and different content. With deduplication alone,
// the server would acknowledge both events, although it stores only the first.
func TestAnEventOfAnotherWriterWithTheSameIDIsNotTakenForOnesOwn(t *testing.T) {
	t.Parallel()
	k, _, logs := open(t)
	job := k.NewJob()
	seq, err := logs.Append(k.Context(), event.Received{JobID: job}, 0)
	must(t, err)
	known := event.Log{{Event: event.Received{JobID: job}, Seq: seq}}
	for _, code := range []string{"first", "second"} {
		log, err := logs.Update(k.Context(), job, known, func(log event.Log) (event.Event, error) {
			if _, ended := log.Terminal(); ended {
				return nil, nil
			}
			return event.Failed{JobID: job, Code: code}, nil
		})
		must(t, err)
		if failed, _ := event.Last[event.Failed](log); failed.Code != "first" || len(log) != 2 {
			t.Errorf("%s: %+v", code, log)
		}
	}
}

func TestAFullLogRejectsAnAppendAndKeepsWhatItHolds(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var cfg bus.Config
	k.Load(&cfg)
	cfg.JobsMaxBytes = 16 << 10
	b, err := bus.Open(cfg, "tester", k.Log())
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	must(t, b.Ensure(k.Context(), event.Jobs()))
	logs := joblog.New(b)
	var stored []string
	for range 1000 {
		job := k.NewJob()
		_, err = logs.Append(k.Context(), event.Received{JobID: job, FileName: strings.Repeat("x", 200)}, 0)
		if err != nil {
			break
		}
		stored = append(stored, job)
	}
	if f := fault.As(err); f == nil || f.Kind != fault.Exhausted || f.Code != "bus-full" {
		t.Fatalf("after %d: %v", len(stored), err)
	}
	for _, job := range stored {
		if log, err := logs.Read(k.Context(), job); err != nil || len(log) != 1 {
			t.Fatalf("an accepted job is gone: %v %v", log, err)
		}
	}
}
