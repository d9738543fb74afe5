package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"sori.internal/infra/internal/audit"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/tone"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// city is Sori as processes of their own, with what a test looks at from behind.
type city struct {
	t       *testing.T
	kit     *testkit.Kit
	fleet   *fleet.Fleet
	books   audit.Books
	accepts chan string // ids of accepted jobs
}

// crashPatience bounds a whole test of crashes.
const crashPatience = 2 * time.Minute

func found(t *testing.T, copies map[string]int, env map[string]string) *city {
	t.Helper()
	k := testkit.New(t)
	k.Database()
	c := &city{t: t, kit: k, accepts: make(chan string, 1000)}
	c.books = audit.Books{
		Bus:       k.Bus("test", event.Jobs(), event.Dead(), event.Staging()),
		JetStream: k.JetStream(), Namespace: k.Namespace(),
	}
	c.books.S3, c.books.Bucket = k.Bucket()
	programs := filepath.Join(t.TempDir(), "bin")
	if err := fleet.Build(t.Context(), programs, fleet.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	all := k.Settings(env)
	for _, own := range []string{"HTTP_ADDR", "WEBHOOK_SECRET"} { // the fleet's to give
		delete(all, own)
	}
	f, err := fleet.Start(t.Context(), fleet.Options{
		Dir: t.TempDir(), Programs: programs, Copies: copies,
		Env: map[string]map[string]string{fleet.All: all},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.fleet = f
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if c.books.DB, err = sqlx.Open("postgres", k.Database()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.books.DB.Close() })
	c.makeToken()
	return c
}

func (c *city) makeToken() {
	c.t.Helper()
	resp, err := http.Post(c.fleet.URL(fleet.Gateway)+"/tokens/", "application/json",
		strings.NewReader(`{"token_name":"sample","actor_name":"sori","start_time":0,"end_time":10}`))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		c.t.Fatalf("status %s", resp.Status)
	}
}

// upload tries until a recording is accepted: a client whose gateway was killed
// does not know, and asks again.
func (c *city) upload(ctx context.Context, audio []byte) error {
	for {
		job, err := tryUpload(ctx, c.fleet.URL(fleet.Gateway), audio)
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
	audio := tone.WAV(220, time.Second)
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

// awaitEnds waits until every row has ended, the accepted jobs among them.
func (c *city) awaitEnds(ctx context.Context, jobs []string) map[string]audit.Row {
	c.t.Helper()
	rows, err := c.books.AwaitEnds(ctx, jobs)
	if err != nil {
		c.t.Fatal(err)
	}
	return rows
}

// checkInvariants holds what must be true of ended jobs, whatever happened.
func (c *city) checkInvariants(ctx context.Context, jobs []string, rows map[string]audit.Row) {
	c.t.Helper()
	if err := c.books.Check(ctx, jobs, rows); err != nil {
		c.t.Error(err)
	}
}

// checkStagingEmpties sweeps, now that no upload is under way, and looks.
func (c *city) checkStagingEmpties(ctx context.Context) {
	c.t.Helper()
	up := c.fleet.Process(fleet.Uploader, 0)
	up.Setenv("SWEEP_AGE", "1ms")
	up.Setenv("SWEEP_INTERVAL", "50ms")
	if err := up.Restart(ctx); err != nil {
		c.t.Fatal(err)
	}
	testkit.Eventually(c.t, func() error {
		entries, err := c.books.Bus.StagedEntries(ctx)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("staging holds %v", entries)
		}
		return err
	})
}

func TestNoAcceptedJobIsLostOrDoneTwiceWhateverIsKilled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	c := found(t, map[string]int{fleet.Tracker: 2}, map[string]string{"BEHAVIOUR_DELAY": "1s", "CONCURRENCY": "2"})
	uploaded := make(chan []string, 1)
	go func() { uploaded <- c.uploadAll(ctx, 200) }()
	for _, name := range []string{fleet.Uploader, fleet.Dispatcher, fleet.Tracker, fleet.Gateway, fleet.Dispatcher, fleet.Uploader} {
		c.awaitUnderWay(ctx)
		p := c.fleet.Process(name, 0)
		p.Kill()
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	jobs := <-uploaded
	rows := c.awaitEnds(ctx, jobs)
	for _, job := range jobs {
		if rows[job].Status != "completed" {
			t.Errorf("job %s is %s", job, rows[job].Status)
		}
	}
	c.checkInvariants(ctx, jobs, rows)
	c.checkStagingEmpties(ctx)
	c.checkReplayChangesNothing(ctx, rows)
}

// awaitUnderWay waits until there is something for a crash to interrupt: a job
// that has begun and not ended.
func (c *city) awaitUnderWay(ctx context.Context) {
	c.t.Helper()
	testkit.Eventually(c.t, func() error {
		rows, err := c.books.Rows(ctx)
		if err == nil && audit.Ended(rows, nil) == nil {
			err = errors.New("nothing is under way")
		}
		return err
	})
}

// checkReplayChangesNothing takes the consumers away, so that every service sees
// the whole log again.
func (c *city) checkReplayChangesNothing(ctx context.Context, before map[string]audit.Row) {
	c.t.Helper()
	js, stream := c.books.JetStream, c.kit.Namespace().Stream(event.Jobs().Name)
	info, err := js.Stream(ctx, stream)
	if err != nil {
		c.t.Fatal(err)
	}
	last := info.CachedInfo().State.LastSeq
	consumers := []string{"uploader-received", "dispatcher-stored", "tracker-projection"}
	for _, name := range consumers {
		if err := js.DeleteConsumer(ctx, stream, name); err != nil {
			c.t.Fatal(err)
		}
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
	after, err := c.books.Rows(ctx)
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
	c := found(t, map[string]int{fleet.Tracker: 2, fleet.Uploader: 2, fleet.Dispatcher: 2}, map[string]string{"BEHAVIOUR_INSTANT": "true"})
	canceling := make(chan struct{})
	go func() { // a cancellation for every job, as soon as it is known
		defer close(canceling)
		seen := map[string]bool{}
		for ctx.Err() == nil && len(seen) < 100 {
			rows, err := c.books.Rows(ctx)
			if err != nil {
				continue
			}
			for job := range rows {
				if !seen[job] {
					seen[job] = true
					_, _ = c.books.Bus.Decide(ctx, job, nil, func(log event.Log) (event.Event, error) {
						if _, ended := log.Ending(); ended {
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
	rows := c.awaitEnds(ctx, jobs)
	c.checkInvariants(ctx, jobs, rows)
	c.checkStagingEmpties(ctx)
	c.checkReplayChangesNothing(ctx, rows)
}
