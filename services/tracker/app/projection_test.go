package app_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// consumer is the name of the projection's durable consumer.
const consumer = "tracker-projection"

// settled waits until the projection's consumer has settled n events and no event is pending.
func (c *env) settled(n uint64) {
	c.t.Helper()
	js := c.JetStream()
	testkit.Eventually(c.t, func() error {
		cons, err := js.Consumer(c.Context(), c.Namespace().Stream("AUDIO_JOBS"), consumer)
		if err != nil {
			return err
		}
		info := cons.CachedInfo()
		if info.AckFloor.Consumer < n || info.NumPending > 0 || info.NumAckPending > 0 {
			return fmt.Errorf("%d of %d settled, %d to come", info.AckFloor.Consumer, n, info.NumPending)
		}
		return nil
	})
}

// rows returns all rows of the table of records as JSON.
func (c *env) rows() string {
	c.t.Helper()
	var text string
	const query = `SELECT COALESCE(json_agg(r ORDER BY r.job_id)::text, '') FROM tracker.analysis_results AS r`
	if err := c.db().GetContext(c.Context(), &text, query); err != nil {
		c.t.Fatal(err)
	}
	return text
}

// dead returns the codes of the dead letters.
func (c *env) dead() []string {
	c.t.Helper()
	stream, err := c.JetStream().Stream(c.Context(), c.Namespace().Stream("AUDIO_DEAD"))
	if err != nil {
		c.t.Fatal(err)
	}
	var codes []string
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(c.Context(), seq)
		if err != nil {
			c.t.Fatal(err)
		}
		codes = append(codes, m.Header.Get("Sori-Code"))
	}
	return codes
}

// checkReplay recreates the consumer, so that it projects all n events again, and checks that no
// row changes.
func (c *env) checkReplay(n uint64) {
	c.t.Helper()
	before := c.rows()
	if err := c.JetStream().DeleteConsumer(c.Context(), c.Namespace().Stream(event.Jobs().Name), consumer); err != nil {
		c.t.Fatal(err)
	}
	c.settled(n)
	if after := c.rows(); after != before {
		c.t.Errorf("the replay made\n%s\nof\n%s", after, before)
	}
}

func TestAReplayChangesNothing(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	ended, failed, running := c.job(), c.job(), c.job()
	for _, j := range []*testJob{ended, failed, running} {
		j.received()
		j.uploading(500)
		j.stored()
		j.attempted(1)
		j.dispatched(1)
		j.progressed(50, "음높이")
	}
	ended.completed(`{"a":1}`)
	ended.progressed(80, "late")
	failed.failed()
	failed.progressed(80, "late")
	c.settled(22)
	c.checkReplay(22)
	if dead := c.dead(); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

func TestReplicasShareTheConsumer(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"BATCH_SIZE": "3"})
	c.replica(map[string]string{"BATCH_SIZE": "2"})
	c.replica(nil)
	var wg sync.WaitGroup
	lives := make([]*testJob, 30)
	for i := range lives {
		lives[i] = c.job()
		wg.Go(func() {
			j := lives[i]
			j.received()
			j.uploading(500)
			j.stored()
			j.attempted(1)
			j.dispatched(1)
			j.progressed(50, "x")
			if i%3 == 0 {
				j.failed()
			} else {
				j.completed(`{"a":1}`)
			}
		})
	}
	wg.Wait()
	for i, j := range lives {
		if i%3 == 0 {
			j.awaitStatus("failed", 94)
		} else {
			j.awaitStatus("completed", 100)
		}
	}
}

func TestAnEventThatCannotBeRecordedFailsOnlyItself(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	lock, err := c.db().BeginTxx(c.Context(), nil) // the lock delays the projection, so that the events below are in few batches
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(c.Context(), `LOCK TABLE tracker.analysis_results IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	good, named, sized, garbled, chatty := c.job(), c.job(), c.job(), c.job(), c.job()
	good.received()
	named.publish(event.Received{JobID: named.id, TokenID: 8, FileName: "a\x00b", MediaType: "audio/wav", Size: 5})
	for _, j := range []*testJob{sized, garbled, chatty} {
		j.received()
	}
	good.stored()
	sized.publish(event.Attempted{JobID: sized.id, Attempt: 1 << 40})
	garbled.stored()
	c.publish(&garbled.seq, event.SubjectOf(garbled.id, event.NameCompleted), `{"job_id":"`+garbled.id+`","attempt":1,"result":{"a":"`+"\xff"+`"}}`)
	chatty.progressed(5, "nul \x00")
	chatty.stored()
	good.completed(`{"a":1}`)
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}

	good.awaitStatus("completed", 100)
	if a := named.awaitStatus("failed", 10); a.body.TokenID != "8" || !strings.Contains(string(a.body.Error), `"code":"unprojectable"`) {
		t.Errorf("the name: %s", a.raw)
	}
	sized.awaitStatus("failed", 10)
	a := garbled.awaitStatus("failed", 70)
	if frames := garbled.stream(garbled.progressURL(), nil).rest(); len(frames) != 1 || !strings.Contains(string(a.body.Error), "unprojectable") {
		t.Errorf("the result: %+v", frames)
	}
	chatty.awaitStatus("processing", 70)
	testkit.Eventually(t, func() error {
		if dead := c.dead(); strings.Join(dead, " ") != "data-refused data-refused data-refused data-refused" {
			return fmt.Errorf("dead letters: %v", dead)
		}
		return nil
	})
	for _, j := range []*testJob{named, sized} {
		log, err := c.jobs.Read(c.Context(), j.id)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := event.Last[event.Failed](log); !ok || e.Code != "unprojectable" {
			t.Errorf("the log of a poisoned job: %+v", log)
		}
	}
}

// publish publishes a body that cannot be encoded from an event struct, and sets seq to its
// sequence.
func (c *env) publish(seq *uint64, subject, body string) {
	c.t.Helper()
	ack, err := c.JetStream().Publish(c.Context(), c.Namespace().Subject(subject), []byte(body))
	if err != nil {
		c.t.Fatal(err)
	}
	*seq = ack.Sequence
}

func TestAMessageThatIsNoEventIsDeadLettered(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	newer, broken, garbled := c.job(), c.job(), c.job()
	for _, j := range []*testJob{newer, broken, garbled} {
		j.received()
	}
	c.publish(&newer.seq, event.SubjectOf(newer.id, "invented"), `{"job_id":"`+newer.id+`"}`)
	newer.dispatched(1)
	c.publish(new(uint64), "audio.progress."+newer.id+".invented", `{"job_id":"`+newer.id+`"}`) // changes no status, so nothing is lost
	c.publish(new(uint64), "audio.progress."+newer.id+".progressed", `{"percent":`)
	c.publish(&broken.seq, event.SubjectOf(broken.id, event.NameStored), `{"job_id":`)
	c.publish(&garbled.seq, event.SubjectOf(garbled.id, event.NameCompleted), `null and void`)
	newer.awaitStatus("processing", 90) // neither the event type that only a newer release knows nor the malformed progress fails this job
	broken.awaitStatus("failed", 10)
	garbled.awaitStatus("failed", 10)
	testkit.Eventually(t, func() error {
		if dead := c.dead(); strings.Join(dead, " ") != "unreadable-event unreadable-event unreadable-event unreadable-event" {
			return fmt.Errorf("dead letters: %v", dead)
		}
		return nil
	})
}

func TestALargeResultIsReadFromStaging(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j := c.job()
	j.received()
	j.stored()
	j.awaitStatus("processing", 70)
	s := j.stream(j.progressURL(), nil)
	result := `{"values":"` + strings.Repeat("가나다라", 300_000) + `"}`
	entry := event.ResultEntry(j.id)
	staged, err := c.staging.Put(c.Context(), entry, strings.NewReader(result))
	if err != nil {
		t.Fatal(err)
	}
	j.publish(event.Completed{JobID: j.id, Attempt: 1, ResultEntry: entry, ResultChunks: staged.Chunks})
	if a := j.awaitStatus("completed", 100); string(a.body.Result) != result {
		t.Errorf("a result of %d bytes became one of %d", len(result), len(a.body.Result))
	}
	if frames := s.rest(); string(frames[len(frames)-1].body.Result) != result {
		t.Error("the stream told another")
	}
	c.settled(3)
	if left, err := c.staging.Entries(c.Context()); err != nil || len(left) != 0 {
		t.Errorf("in staging: %v, %v", left, err)
	}

	c.checkReplay(3) // replay the events after the staging entry was removed
	if dead := c.dead(); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

// The events of a batch are recorded in one transaction, and the rows that it has written have the
// transaction's number in xmin.
func TestALargeResultIsRecordedAfterTheOtherEventsOfItsBatch(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	large, small, locked := c.job(), c.job(), c.job()
	for _, j := range []*testJob{large, small, locked} {
		j.received()
		j.stored()
		j.awaitStatus("processing", 70)
	}
	tx, err := c.db().BeginTxx(c.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(c.Context(), `SELECT FROM tracker.analysis_results WHERE job_id = $1 FOR UPDATE`, locked.id); err != nil {
		t.Fatal(err)
	}
	locked.dispatched(1)
	testkit.Eventually(t, func() error { // wait until the first batch is blocked: the events below are in the next batch
		const waiting = `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
		var n int
		if err := c.db().GetContext(c.Context(), &n, waiting); err != nil || n == 0 {
			return fmt.Errorf("%d transactions wait, %w", n, err)
		}
		return nil
	})
	entry := event.ResultEntry(large.id)
	staged, err := c.staging.Put(c.Context(), entry, strings.NewReader(`{"values":"`+strings.Repeat("x", 1_000_000)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	small.dispatched(1)
	large.publish(event.Completed{JobID: large.id, Attempt: 1, ResultEntry: entry, ResultChunks: staged.Chunks}) // ends the batch
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	large.awaitStatus("completed", 100)
	small.awaitStatus("processing", 90)
	const order = `SELECT job_id FROM tracker.analysis_results WHERE job_id IN ($1, $2) ORDER BY xmin::text::bigint, job_id = $2`
	var ids []string
	if err := c.db().SelectContext(c.Context(), &ids, order, large.id, small.id); err != nil || len(ids) != 2 || ids[0] != small.id {
		t.Errorf("%v were recorded in this order, %v", ids, err)
	}
}

func TestALostResultFailsItsJob(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for name, lose := range map[string]func(j *testJob) event.Completed{
		"never there": func(j *testJob) event.Completed {
			return event.Completed{JobID: j.id, Attempt: 1, ResultEntry: event.ResultEntry(j.id), ResultChunks: 2}
		},
		"cut short": func(j *testJob) event.Completed {
			staged, err := c.staging.Put(c.Context(), event.ResultEntry(j.id), strings.NewReader(`{"a":"`+strings.Repeat("x", 400_000)+`"}`))
			if err != nil {
				t.Error(err)
			}
			return event.Completed{JobID: j.id, Attempt: 1, ResultEntry: staged.Entry, ResultChunks: staged.Chunks + 1}
		},
		"no JSON": func(j *testJob) event.Completed {
			staged, err := c.staging.Put(c.Context(), event.ResultEntry(j.id), strings.NewReader(`{"a":`))
			if err != nil {
				t.Error(err)
			}
			return event.Completed{JobID: j.id, Attempt: 1, ResultEntry: staged.Entry, ResultChunks: staged.Chunks}
		},
	} {
		j := c.job()
		j.received()
		j.stored()
		j.publish(lose(j))
		if a := j.awaitStatus("failed", 70); !strings.Contains(string(a.body.Error), "unprojectable") {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
}
