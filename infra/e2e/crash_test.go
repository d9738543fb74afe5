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
	"github.com/minio/minio-go/v7"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/infra/internal/fleet"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// city is Sori as processes of their own, with what a test looks at from behind.
type city struct {
	t       *testing.T
	kit     *testkit.Kit
	fleet   *fleet.Fleet
	bus     *bus.Bus
	db      *sqlx.DB
	s3      *minio.Client
	bucket  string
	accepts chan string // ids of accepted jobs
}

// crashPatience bounds a whole test of crashes.
const crashPatience = 2 * time.Minute

func found(t *testing.T, copies map[string]int, env map[string]string) *city {
	t.Helper()
	k := testkit.New(t)
	k.Database()
	c := &city{t: t, kit: k, accepts: make(chan string, 1000)}
	c.s3, c.bucket = k.Bucket()
	c.bus = k.Bus("test", event.Jobs(), event.Dead(), event.Staging())
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
	if c.db, err = sqlx.Open("postgres", k.Database()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.db.Close() })
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
	audio := tone(220, time.Second)
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

// row is a job as Postgres holds it.
type row struct {
	JobID   string `db:"job_id"`
	Status  string `db:"status"`
	Version int64  `db:"version"`
}

func (c *city) rows(ctx context.Context) (map[string]row, error) {
	const query = `
		SELECT job_id, status, version
		FROM tracker.analysis_results`
	var list []row
	if err := c.db.SelectContext(ctx, &list, query); err != nil {
		return nil, err
	}
	byJob := make(map[string]row, len(list))
	for _, r := range list {
		byJob[r.JobID] = r
	}
	return byJob, nil
}

// awaitEnds waits until every row has ended, the accepted jobs among them.
func (c *city) awaitEnds(ctx context.Context, jobs []string) map[string]row {
	c.t.Helper()
	var rows map[string]row
	for {
		var err error
		if rows, err = c.rows(ctx); err == nil {
			err = allEnded(rows, jobs)
		}
		if err == nil {
			return rows
		}
		select {
		case <-ctx.Done():
			c.t.Fatalf("%v: %v", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func allEnded(rows map[string]row, jobs []string) error {
	for _, job := range jobs {
		if _, ok := rows[job]; !ok {
			return fmt.Errorf("job %s has no row", job)
		}
	}
	for _, r := range rows {
		if r.Status == "processing" {
			return fmt.Errorf("job %s has not ended", r.JobID)
		}
	}
	return nil
}

// endings counts the endings in every job's log, by job.
func (c *city) endings(ctx context.Context) map[string][]event.Name {
	c.t.Helper()
	stream, err := c.kit.JetStream().Stream(ctx, c.kit.Namespace().Stream(event.Jobs().Name))
	if err != nil {
		c.t.Fatal(err)
	}
	all, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{c.kit.Namespace().Subject(event.AllJobs)},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	info, err := all.Info(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	found := map[string][]event.Name{}
	for left := info.NumPending; left > 0; {
		batch, err := all.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			c.t.Fatal(err)
		}
		for m := range batch.Messages() {
			left--
			job, name, err := event.ParseSubject(c.kit.Namespace().Strip(m.Subject()))
			if err != nil {
				c.t.Fatal(err)
			}
			if found[job] == nil {
				found[job] = []event.Name{}
			}
			if name.Ending() {
				found[job] = append(found[job], name)
			}
		}
		if batch.Error() != nil {
			c.t.Fatal(batch.Error())
		}
	}
	return found
}

// objects counts the objects of every job.
func (c *city) objects(ctx context.Context) map[string]int {
	c.t.Helper()
	found := map[string]int{}
	for o := range c.s3.ListObjects(ctx, c.bucket, minio.ListObjectsOptions{Prefix: "audio/", Recursive: true}) {
		if o.Err != nil {
			c.t.Fatal(o.Err)
		}
		job, _, _ := strings.Cut(strings.TrimPrefix(o.Key, "audio/"), "_")
		found[job]++
	}
	return found
}

// checkInvariants holds what must be true of ended jobs, whatever happened: log,
// row and object agree, and each job has one of each.
func (c *city) checkInvariants(ctx context.Context, jobs []string, rows map[string]row) {
	c.t.Helper()
	endings, objects := c.endings(ctx), c.objects(ctx)
	for _, job := range jobs {
		if len(endings[job]) == 0 {
			c.t.Errorf("accepted job %s has no ending", job)
		}
	}
	if len(endings) != len(rows) {
		c.t.Errorf("%d jobs in the log, %d rows", len(endings), len(rows))
	}
	for job, ends := range endings {
		if len(ends) != 1 || string(ends[0]) != rows[job].Status {
			c.t.Errorf("job %s ended with %v, its row says %s", job, ends, rows[job].Status)
		}
		want := 1
		if log, err := c.bus.Log(ctx, job); err != nil {
			c.t.Fatal(err)
		} else if _, stored := event.Last[event.Stored](log); !stored {
			want = 0
		}
		if objects[job] != want {
			c.t.Errorf("job %s has %d objects, want %d", job, objects[job], want)
		}
		delete(objects, job)
	}
	if len(objects) > 0 {
		c.t.Errorf("objects of no job: %v", objects)
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
		entries, err := c.bus.StagedEntries(ctx)
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
		rows, err := c.rows(ctx)
		if err == nil && allEnded(rows, nil) == nil {
			err = errors.New("nothing is under way")
		}
		return err
	})
}

// checkReplayChangesNothing takes the consumers away, so that every service sees
// the whole log again.
func (c *city) checkReplayChangesNothing(ctx context.Context, before map[string]row) {
	c.t.Helper()
	js, stream := c.kit.JetStream(), c.kit.Namespace().Stream(event.Jobs().Name)
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
	after, err := c.rows(ctx)
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
			rows, err := c.rows(ctx)
			if err != nil {
				continue
			}
			for job := range rows {
				if !seen[job] {
					seen[job] = true
					_, _ = c.bus.Decide(ctx, job, nil, func(log event.Log) (event.Event, error) {
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
