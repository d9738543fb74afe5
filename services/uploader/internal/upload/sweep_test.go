package upload_test

import (
	"context"
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

const age = time.Hour

func (c *corner) sweeper() *upload.Sweeper {
	return upload.NewSweeper(upload.New(c.bus, c.bus, c.bucket), c.bus, time.Hour, age, zerolog.Nop())
}

func (c *corner) stage(entry string) {
	c.t.Helper()
	_, err := c.bus.Stage(c.Context(), entry, strings.NewReader("bytes"))
	must(c.t, err)
}

func (c *corner) staged() []string {
	c.t.Helper()
	entries, err := c.bus.StagedEntries(c.Context())
	must(c.t, err)
	return slices.Sorted(maps.Keys(entries))
}

// sweep sweeps as it would be done after some time, and tells what is left.
func (c *corner) sweep(after time.Duration) []string {
	c.t.Helper()
	before := len(c.staged())
	removed, err := c.sweeper().Sweep(c.Context(), time.Now().Add(after))
	must(c.t, err)
	left := c.staged()
	if before-len(left) != removed {
		c.t.Errorf("%d were removed, it says %d", before-len(left), removed)
	}
	return left
}

func TestBytesThatNoUploadNamesAreRemovedWhenTheyAreOld(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	orphan := c.NewJob()
	c.stage(orphan)
	if left := c.sweep(age - time.Minute); !slices.Equal(left, []string{orphan}) {
		t.Errorf("while the upload may still run: %v", left)
	}
	if left := c.sweep(age + time.Minute); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestTheBytesOfALivingJobAreKept(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	e := c.upload(1000)
	if left := c.sweep(100 * age); !slices.Equal(left, []string{e.JobID}) {
		t.Errorf("left %v", left)
	}
}

func TestBytesWhoseRemovalACrashCutAreRemoved(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	stored, canceled := c.upload(1000), c.upload(1000)
	c.append(event.Stored{JobID: stored.JobID})
	c.append(event.Canceled{JobID: canceled.JobID})
	if left := c.sweep(2 * age); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestTheBytesThatAJobNamesAreKeptAndThoseOfItsOtherUploadsRemoved(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	job := c.NewJob()
	other, err := event.UploadEntry(job)
	must(t, err)
	named, err := event.UploadEntry(job)
	must(t, err)
	c.stage(job)
	c.stage(other)
	e := c.uploadTo(named, job, 1000)
	if left := c.sweep(2 * age); !slices.Equal(left, []string{e.Entry}) {
		t.Errorf("left %v", left)
	}
	c.append(event.Stored{JobID: e.JobID})
	if left := c.sweep(2 * age); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestAnotherUploadOfAnOldJobMayTakeItsTime(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	entry, err := event.UploadEntry("01890a5d-ac96-774b-bcce-b302099a8057") // of 2023
	must(t, err)
	c.stage(entry)
	if left := c.sweep(age - time.Minute); !slices.Equal(left, []string{entry}) {
		t.Errorf("while the upload may still run: %v", left)
	}
	if left := c.sweep(age + time.Minute); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestAResultIsKeptAsLongAsItsJobMayNameItOrDoes(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	e := c.upload(1000)
	c.append(event.Stored{JobID: e.JobID})
	must(t, c.bus.Unstage(c.Context(), e.JobID))
	first, second := event.ResultEntry(e.JobID), event.ResultEntry(e.JobID)
	c.stage(first)
	c.stage(second)
	if left := c.sweep(2 * age); len(left) != 2 {
		t.Errorf("before the job ended: %v", left)
	}
	c.append(event.Completed{JobID: e.JobID, Attempt: 1, ResultEntry: second, ResultChunks: 1})
	for range 2 {
		if left := c.sweep(2 * age); !slices.Equal(left, []string{second}) {
			t.Errorf("after it completed with the second: %v", left)
		}
	}
	c.append(event.Erased{JobID: e.JobID})
	if left := c.sweep(2 * age); len(left) > 0 {
		t.Errorf("after it was erased: %v", left)
	}
}

func TestResultsOfAJobThatEndedWithoutThemAreRemoved(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	for _, ending := range []func(string) event.Event{
		func(job string) event.Event { return event.Canceled{JobID: job} },
		func(job string) event.Event { return event.Failed{JobID: job, Code: "x"} },
		func(job string) event.Event { return event.Completed{JobID: job, Result: []byte(`{}`)} },
	} {
		e := c.upload(1000)
		c.append(ending(e.JobID))
		c.stage(event.ResultEntry(e.JobID))
	}
	c.stage(event.ResultEntry(c.NewJob()))
	if left := c.sweep(2 * age); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestWhatSoriDidNotNameIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	c.stage("notes")
	c.stage("9f0d5b0e-2f7c-4a52-9d6b-0c3c6f1c8d11") // of version 4, which tells no time
	if left := c.sweep(1000 * age); len(left) != 2 {
		t.Errorf("left %v", left)
	}
}

func TestASweeperSweepsAtOnceAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := newCorner(t)
	e := c.upload(1000)
	c.append(event.Canceled{JobID: e.JobID})
	s := upload.NewSweeper(upload.New(c.bus, c.bus, c.bucket), c.bus, time.Hour, time.Nanosecond, zerolog.Nop())
	ctx, stop := context.WithCancel(c.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	testkit.Eventually(t, func() error {
		if left := c.staged(); len(left) > 0 {
			return errLeft(left)
		}
		return nil
	})
	stop()
	must(t, <-done)
}

type errLeft []string

func (e errLeft) Error() string { return strings.Join(e, ", ") + " are left" }
