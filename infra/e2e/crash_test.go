package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

// city is the environment of a test: Sori as processes, on the dependencies of the test kit.
type city struct {
	*harnesstest.System
	t       *testing.T
	kit     *testkit.Kit
	accepts chan string // ids of accepted jobs
}

// crashPatience is the time limit for a test of crashes.
const crashPatience = 2 * time.Minute

func found(ctx context.Context, t *testing.T, replicas map[string]int, env map[string]string) *city {
	t.Helper()
	k := testkit.New(t)
	return &city{
		System: harnesstest.StartProcesses(ctx, t, k, replicas, env),
		t:      t, kit: k, accepts: make(chan string, 1000),
	}
}

// upload repeats an upload until it is accepted: if the gateway is killed, the client
// cannot know the outcome and sends the recording again.
func (c *city) upload(ctx context.Context, audio []byte) error {
	for {
		job, err := tryUpload(ctx, c.URL(harness.Gateway), audio)
		if err == nil {
			c.accepts <- job
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("upload: %w, after %w", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// uploadAll uploads n recordings from several clients.
func (c *city) uploadAll(ctx context.Context, n int) []string {
	c.t.Helper()
	audio := loadgen.Tone(220, time.Second)
	var wg sync.WaitGroup
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	for range 8 {
		wg.Go(func() {
			for range turns {
				if err := c.upload(ctx, audio); err != nil {
					c.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	jobs := make([]string, 0, n)
	for len(c.accepts) > 0 {
		jobs = append(jobs, <-c.accepts)
	}
	return jobs
}

func TestNoAcceptedJobIsLostOrDoneTwiceWhateverIsKilled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	c := found(ctx, t, map[string]int{harness.Tracker: 2}, map[string]string{"BEHAVIOUR_DELAY": "1s", "CONCURRENCY": "2"})
	uploaded := make(chan []string, 1)
	go func() { uploaded <- c.uploadAll(ctx, 200) }()
	for _, name := range []string{harness.Uploader, harness.Dispatcher, harness.Tracker, harness.Gateway, harness.Dispatcher, harness.Uploader} {
		c.awaitUnderWay(ctx)
		p := c.Process(name, 0)
		p.Kill()
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	jobs := <-uploaded
	rows := c.CheckJobs(jobs)
	c.CheckStaging()
	c.checkReplayChangesNothing(ctx, rows)
}

// awaitUnderWay waits until there is a job that has not ended, which a crash can
// interrupt.
func (c *city) awaitUnderWay(ctx context.Context) {
	c.t.Helper()
	testkit.Eventually(c.t, func() error {
		rows, err := c.Checker.Rows(ctx)
		if err == nil && invariants.Ended(rows, nil) == nil {
			err = errors.New("nothing is under way")
		}
		return err
	})
}

// checkReplayChangesNothing creates the consumers anew, so that every service handles the
// whole log again, and checks that the rows do not change.
func (c *city) checkReplayChangesNothing(ctx context.Context, before map[string]invariants.Row) {
	c.t.Helper()
	js, stream := c.Checker.JetStream, c.kit.Namespace().Stream(event.Jobs().Name)
	info, err := js.Stream(ctx, stream)
	if err != nil {
		c.t.Fatal(err)
	}
	last := info.CachedInfo().State.LastSeq
	consumers := []string{"uploader-received", "dispatcher-stored", "tracker-projection"}
	for _, name := range consumers {
		c.kit.Recreate(name)
	}
	testkit.Eventually(c.t, func() error {
		for _, name := range consumers {
			consumer, err := js.Consumer(ctx, stream, name)
			if err != nil {
				return err
			}
			i, err := consumer.Info(ctx)
			if err != nil {
				return err
			}
			if i.NumPending > 0 || i.NumAckPending > 0 || i.AckFloor.Stream == 0 {
				return fmt.Errorf("%s is not through: %d pending", name, i.NumPending+uint64(i.NumAckPending))
			}
		}
		return nil
	})
	after, err := c.Checker.Rows(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	for job, r := range before {
		if after[job] != r {
			c.t.Errorf("the replay made %+v of %+v", after[job], r)
		}
	}
	now, err := info.Info(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if now.State.LastSeq != last {
		msg, err := info.GetMsg(ctx, now.State.LastSeq)
		c.t.Errorf("the replay published %d events, the last on %v %v", now.State.LastSeq-last, msg, err)
	}
}

func TestOneEndingWinsWhereCompletionAndCancellationRace(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	c := found(ctx, t, map[string]int{harness.Tracker: 2, harness.Uploader: 2, harness.Dispatcher: 2}, map[string]string{"BEHAVIOUR_INSTANT": "true"})
	canceling := make(chan struct{})
	go func() { // cancel every job as soon as its id is known
		defer close(canceling)
		seen := map[string]bool{}
		for ctx.Err() == nil && len(seen) < 100 {
			rows, err := c.Checker.Rows(ctx)
			if err != nil {
				continue
			}
			for job := range rows {
				if !seen[job] {
					seen[job] = true
					_, _ = joblog.New(c.Checker.Bus).Update(ctx, job, nil, func(log event.Log) (event.Event, error) {
						if _, ended := log.Terminal(); ended {
							return nil, nil
						}
						return event.Canceled{JobID: job}, nil
					})
				}
			}
		}
	}()
	jobs := c.uploadAll(ctx, 100)
	<-canceling
	rows := c.AwaitEnds(jobs)
	c.CheckInvariants(jobs, rows)
	c.CheckStaging()
	c.checkReplayChangesNothing(ctx, rows)
}
