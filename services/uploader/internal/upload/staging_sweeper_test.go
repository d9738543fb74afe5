package upload_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

const minAge = time.Hour

func (env *env) sweeper() *upload.Sweeper {
	return env.sweeperOf(minAge)
}

func (env *env) sweeperOf(minAge time.Duration) *upload.Sweeper {
	return upload.NewSweeper(upload.SweeperDependencies{Jobs: env.jobs, Staging: env.staging, Log: zerolog.Nop()},
		upload.SweeperOptions{Interval: time.Hour, MinAge: minAge})
}

func (env *env) stage(entry string) {
	env.t.Helper()
	_, err := env.staging.Put(env.Context(), entry, strings.NewReader("bytes"))
	must(env.t, err)
}

func (env *env) staged() []string {
	env.t.Helper()
	entries, err := env.staging.Entries(env.Context())
	must(env.t, err)
	return slices.Sorted(maps.Keys(entries))
}

// sweep calls Sweep with a time that lies the given duration in the future, and returns the entries
// that are left.
func (env *env) sweep(after time.Duration) []string {
	env.t.Helper()
	before := len(env.staged())
	removed, err := env.sweeper().Sweep(env.Context(), time.Now().Add(after))
	must(env.t, err)
	left := env.staged()
	if before-len(left) != removed {
		env.t.Errorf("%d were removed, it says %d", before-len(left), removed)
	}
	return left
}

// checkSweep calls sweep, and checks the entries that are left.
func (env *env) checkSweep(after time.Duration, want ...string) {
	env.t.Helper()
	if left := env.sweep(after); !slices.Equal(left, want) {
		env.t.Errorf("left after %v: %v, want %v", after, left, want)
	}
}

// checkKeptUntilOld checks that an entry without a job is removed only after minAge.
func (env *env) checkKeptUntilOld(entry string) {
	env.t.Helper()
	env.stage(entry)
	env.checkSweep(minAge-time.Minute, entry) // kept, since the upload may not be finished
	env.checkSweep(minAge + time.Minute)
}

func TestBytesThatNoUploadNamesAreRemovedWhenTheyAreOld(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.checkKeptUntilOld(env.NewJob())
}

func TestTheBytesOfAnActiveJobAreKept(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(1000)
	env.checkSweep(100*minAge, e.JobID)
}

func TestBytesWhoseRemovalACrashCutAreRemoved(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	stored, canceled := env.upload(1000), env.upload(1000)
	env.append(event.Stored{JobID: stored.JobID})
	env.append(event.Canceled{JobID: canceled.JobID})
	env.checkSweep(2 * minAge)
}

func TestTheBytesThatAJobNamesAreKeptAndThoseOfItsOtherUploadsRemoved(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	job := env.NewJob()
	other, err := event.UploadEntry(job)
	must(t, err)
	named, err := event.UploadEntry(job)
	must(t, err)
	env.stage(job)
	env.stage(other)
	e := env.uploadTo(named, job, 1000)
	env.checkSweep(2*minAge, e.Entry)
	env.append(event.Stored{JobID: e.JobID})
	env.checkSweep(2 * minAge)
}

func TestAnotherUploadOfAnOldJobMayTakeItsTime(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	entry, err := event.UploadEntry("01890a5d-ac96-774b-bcce-b302099a8057") // the job's id contains a time in 2023, but the entry is new
	must(t, err)
	env.checkKeptUntilOld(entry)
}

func TestAResultIsKeptAsLongAsItsJobMayNameItOrDoes(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(1000)
	env.append(event.Stored{JobID: e.JobID})
	must(t, env.staging.Delete(env.Context(), e.JobID))
	first, second := event.ResultEntry(e.JobID), event.ResultEntry(e.JobID)
	env.stage(first)
	env.stage(second)
	if left := env.sweep(2 * minAge); len(left) != 2 {
		t.Errorf("before the job ended: %v", left)
	}
	env.append(event.Completed{JobID: e.JobID, Attempt: 1, ResultEntry: second, ResultChunks: 1})
	for range 2 {
		env.checkSweep(2*minAge, second)
	}
	env.append(event.Erased{JobID: e.JobID})
	env.checkSweep(2 * minAge)
}

func TestResultsOfAJobThatEndedWithoutThemAreRemoved(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	for _, terminal := range []func(string) event.Event{
		func(job string) event.Event { return event.Canceled{JobID: job} },
		func(job string) event.Event { return event.Failed{JobID: job, Code: "x"} },
		func(job string) event.Event { return event.Completed{JobID: job, Result: []byte(`{}`)} },
	} {
		e := env.upload(1000)
		env.append(terminal(e.JobID))
		env.stage(event.ResultEntry(e.JobID))
	}
	env.stage(event.ResultEntry(env.NewJob()))
	env.checkSweep(2 * minAge)
}

// unreadable is a log reader for which the log of one job cannot be read.
type unreadable struct {
	upload.LogReader
	job string
}

func (u unreadable) Read(ctx context.Context, job string) (event.Log, error) {
	if job == u.job {
		return nil, errors.New("decode an event: unexpected end")
	}
	return u.LogReader.Read(ctx, job)
}

func TestAnEntryWhoseJobCannotBeReadKeepsNoOtherFromBeingSwept(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	unreadableJob := env.NewJob()
	env.stage(unreadableJob)
	for range 20 {
		env.stage(env.NewJob())
	}
	sweeper := upload.NewSweeper(upload.SweeperDependencies{
		Jobs: unreadable{LogReader: env.jobs, job: unreadableJob}, Staging: env.staging, Log: zerolog.Nop(),
	}, upload.SweeperOptions{Interval: time.Hour, MinAge: minAge})
	removed, err := sweeper.Sweep(env.Context(), time.Now().Add(2*minAge))
	if left := env.staged(); removed != 20 || err == nil || !slices.Equal(left, []string{unreadableJob}) {
		t.Errorf("%d are removed, left %v, with the error %v", removed, left, err)
	}
}

func TestASweepThatFailsAgainAndAgainEnds(t *testing.T) {
	t.Parallel()
	var done upload.Removals
	failures := 0
	for done.Add(errors.New("no connection")) == nil {
		if failures++; failures > 1000 {
			t.Fatal("it goes on")
		}
	}
}

func TestEntriesThatSoriDidNotNameAreKept(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.stage("notes")
	env.stage("9f0d5b0e-2f7c-4a52-9d6b-0c3c6f1c8d11") // a UUID of version 4 contains no time, so this is no entry
	if left := env.sweep(1000 * minAge); len(left) != 2 {
		t.Errorf("left %v", left)
	}
}

func TestASweeperSweepsAtOnceAndStopsWithItsContext(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	e := env.upload(1000)
	env.append(event.Canceled{JobID: e.JobID})
	s := env.sweeperOf(time.Nanosecond)
	ctx, stop := context.WithCancel(env.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	testkit.Eventually(t, func() error {
		if left := env.staged(); len(left) > 0 {
			return errLeft(left)
		}
		return nil
	})
	stop()
	must(t, <-done)
}

type errLeft []string

func (e errLeft) Error() string { return strings.Join(e, ", ") + " are left" }
