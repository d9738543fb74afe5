package quota_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/quota"
	"sori.internal/shared/fault"
)

func TestAnUploadBeyondABudgetIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits            quota.Limits
		stored, log, size int64
		budget            string // "": admitted
		limit, used       int64
	}{
		"none":              {quota.Limits{}, 1 << 40, 1 << 40, 1 << 40, "", 0, 0},
		"as much as fits":   {quota.Limits{Staged: 100, Stored: 100, Log: 8192}, 0, 4096, 100, "", 0, 0},
		"staged":            {quota.Limits{Staged: 100}, 1000, 1000, 101, "staged_bytes", 100, 0},
		"stored":            {quota.Limits{Stored: 100}, 50, 0, 51, "stored_bytes", 100, 50},
		"log":               {quota.Limits{Log: 8192}, 0, 4097, 1, "log_bytes", 8192, 4097},
		"stored and staged": {quota.Limits{Staged: 10, Stored: 100}, 90, 0, 11, "stored_bytes", 100, 90},
	} {
		e := newEnv(c.limits)
		e.ledger.stored, e.ledger.log = c.stored, c.log
		if c.budget != "" {
			e.refuses(t, c.size, c.budget, c.limit, c.used)
		} else if _, _, err := e.upload(c.size); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStagedBytesCountAsStoredBytesToo(t *testing.T) {
	t.Parallel()
	e := newEnv(quota.Limits{Stored: 100})
	e.ledger.stored = 30
	e.accept(t, 40, true)
	e.accept(t, 20, false)
	e.refuses(t, 11, "stored_bytes", 100, 90)
	e.accept(t, 10, false)
}

// An upload is counted once: by the gateway until the usage of the tracker contains the upload's
// job, and as a part of that usage afterwards.
func TestAnUploadIsCountedOnceWhetherItsJobIsRecordedOrNot(t *testing.T) {
	t.Parallel()
	for _, recorded := range []bool{false, true} {
		e := newEnv(quota.Limits{Staged: 100})
		for range 10 {
			e.accept(t, 10, recorded)
		}
		e.refuses(t, 1, "staged_bytes", 100, 100)
		e.ledger.change(func(l *ledger) { clear(l.staged) }) // the staged bytes are stored now
		if recorded {
			e.accept(t, 100, recorded)
		}
	}
}

// One request names at most 256 jobs, so a reading about 1000 jobs needs several requests.
func TestAThousandRecordedUploadsAreCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(quota.Limits{Staged: 1001})
		for range 1000 {
			e.accept(t, 1, true)
		}
		time.Sleep(time.Minute / 2) //nolint:forbidigo // synthetic time; less than the minute for which the gateway counts an unrecorded job
		e.accept(t, 1, false)
		e.refuses(t, 1, "staged_bytes", 1001, 1001)
	})
}

func TestAnUploadThatFailsIsNotCounted(t *testing.T) {
	t.Parallel()
	e := newEnv(quota.Limits{Staged: 100})
	_, first, err := e.upload(100)
	if err != nil {
		t.Fatal(err)
	}
	e.refuses(t, 1, "staged_bytes", 100, 100)
	first.Release()
	first.Release()
	e.accept(t, 100, false)
}

func TestAnUploadOfUnknownLengthIsRefusedAtItsEnd(t *testing.T) {
	t.Parallel()
	e := newEnv(quota.Limits{Staged: 100})
	_, one, err := e.upload(1)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := e.upload(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Staged(t.Context(), 60); err != nil {
		t.Error(err)
	}
	if err := two.Staged(t.Context(), 41); fault.As(err) == nil || fault.As(err).Code != "quota-exceeded" {
		t.Errorf("the second: %v", err)
	}
	if err := two.Staged(t.Context(), 40); err != nil {
		t.Error(err)
	}
}

func TestUploadsAtOneReplicaDoNotExceedABudgetHoweverManyThereAreAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(quota.Limits{Staged: 1000})
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			job, r, err := e.upload(30)
			if err != nil {
				return
			}
			admitted.Add(30)
			if err := r.Staged(context.Background(), 30); err != nil {
				t.Error(err)
			}
			e.ledger.record(job, 30) // the tracker may record the job before the gateway calls Accepted
			r.Accepted()
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 990 {
		t.Errorf("%d bytes are admitted", n)
	}
}

func TestBytesThatAreReleasedAreAvailableAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(quota.Limits{Stored: 100})
	e.ledger.stored = 100
	e.refuses(t, 1, "stored_bytes", 100, 100)
	e.ledger.change(func(l *ledger) { l.stored = 0 })
	e.accept(t, 100, false)
}

func TestTheUsageIsReadOnceForManyUploads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(quota.Limits{Staged: 1 << 30})
		e.ledger.delay = 500 * time.Millisecond
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { e.accept(t, 1, true) })
		}
		wg.Wait()
		if n := e.ledger.count(); n != 1 {
			t.Errorf("at once: read %d times", n)
		}
		<-time.After(3 * time.Second)
		e.accept(t, 1, true)
		<-time.After(time.Second)
		if n := e.ledger.count(); n != 2 {
			t.Errorf("later: read %d times", n)
		}
	})
}

func TestAnUploadWaitsForTheUsageOnlyNearABudget(t *testing.T) {
	t.Parallel()
	for used, waits := range map[int64]bool{40: false, 60: true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(quota.Limits{Staged: 100})
			e.accept(t, used, true)
			<-time.After(3 * time.Second)
			e.ledger.change(func(l *ledger) { l.delay = 500 * time.Millisecond })
			began := time.Now()
			e.accept(t, 1, true)
			if waited := time.Since(began) > 0; waited != waits {
				t.Errorf("with %d of 100 used the upload waits: %t", used, waited)
			}
			<-time.After(time.Second)
			if n := e.ledger.count(); n != 2 {
				t.Errorf("with %d of 100 used the usage was read %d times", used, n)
			}
		})
	}
}

// A request adds fields to its logger while a reading that it began still logs. If the reading used the same logger, the
// race detector would report that.
func TestAReadingOutlastsTheRequestThatBeganIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(quota.Limits{Staged: 100})
		e.accept(t, 1, true)
		<-time.After(3 * time.Second)
		e.ledger.change(func(l *ledger) { l.err = errors.New("refused") })
		var logged bytes.Buffer
		ctx := zerolog.New(&logged).With().Str("request_id", "7").Logger().WithContext(t.Context())
		if _, err := e.Reserve(ctx, "alice", "job", 1); err != nil {
			t.Fatal(err)
		}
		zerolog.Ctx(ctx).UpdateContext(func(c zerolog.Context) zerolog.Context { return c.Str("job_id", "job") })
		synctest.Wait()
		if text := logged.String(); !strings.Contains(text, "refused") || !strings.Contains(text, "request_id") {
			t.Errorf("logged is %q", text)
		}
	})
}

func TestUploadsAreAdmittedWhileTheUsageCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*ledger){
		"away": func(l *ledger) { l.err = errors.New("refused") },
		"slow": func(l *ledger) { l.delay = time.Hour },
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(quota.Limits{Staged: 100})
			e.accept(t, 100, true)
			e.ledger.change(broken)
			<-time.After(3 * time.Second)
			began := time.Now()
			for range 20 {
				e.accept(t, 100, true)
			}
			if took := time.Since(began); took > time.Second || e.ledger.count() != 2 || e.unknown.Load() != 20 {
				t.Errorf("%s: 20 uploads took %v, the usage was read %d times, %d are counted", name, took, e.ledger.count(), e.unknown.Load())
			}
			e.ledger.change(func(l *ledger) { l.err, l.delay = nil, 0 })
			<-time.After(3 * time.Second)
			e.refuses(t, 1, "staged_bytes", 100, 2100)
		})
	}
}

// The outcome of an append may be unknown to the gateway. If the event is not stored, the tracker
// never records the job.
func TestAJobThatIsNeverRecordedIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(quota.Limits{Staged: 100})
		e.accept(t, 100, false)
		e.refuses(t, 1, "staged_bytes", 100, 100)
		<-time.After(2 * time.Minute)
		e.accept(t, 100, false)
	})
}

// A reading names the jobs that it is to find, in requests of 256 jobs, and has a time limit.
func TestTheUsageIsKnownAgainAfterALongOutageWithManyUploads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(quota.Limits{Staged: 100})
		e.ledger.change(func(l *ledger) { l.err = errors.New("refused") })
		for range 30_000 {
			e.accept(t, 1, false)
		}
		<-time.After(2 * time.Minute)
		e.accept(t, 1, false)
		e.ledger.change(func(l *ledger) { l.err, l.delay = nil, 10*time.Millisecond })
		<-time.After(3 * time.Second)
		e.refuses(t, 100, "staged_bytes", 100, 1)
	})
}

func TestAClientThatLeavesDoesNotEndTheReadingForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(quota.Limits{Staged: 100})
		e.ledger.delay = 500 * time.Millisecond
		e.ledger.staged["another"] = 100
		ctx, leave := context.WithCancel(t.Context())
		go func() { _, _ = e.Reserve(ctx, "alice", "first", 1) }()
		synctest.Wait()
		go e.refuses(t, 1, "staged_bytes", 100, 100)
		synctest.Wait()
		leave()
		<-time.After(3 * time.Second)
		if e.unknown.Load() != 0 {
			t.Error("an upload was admitted without the usage")
		}
	})
}

func TestOwnersHaveBudgetsOfTheirOwnAndNobodyHasNone(t *testing.T) {
	t.Parallel()
	e := newEnv(quota.Limits{Staged: 100})
	e.accept(t, 100, false)
	e.refuses(t, 1, "staged_bytes", 100, 100)
	if _, err := e.Reserve(t.Context(), "bob", "his", 100); err != nil {
		t.Errorf("another: %v", err)
	}
	readings := e.ledger.count()
	r, err := e.Reserve(t.Context(), "", "nobody's", 1<<40)
	if err == nil {
		err = r.Staged(t.Context(), 1<<41)
	}
	r.Accepted()
	r.Release()
	if err != nil || e.ledger.count() != readings {
		t.Errorf("nobody: %v", err)
	}
	var none *quota.Quotas
	if r, err := none.Reserve(t.Context(), "alice", "job", 1); r != nil || err != nil {
		t.Errorf("without quotas: %v, %v", r, err)
	}
}
