package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/services/dispatcher/app"
	"sori.internal/services/dispatcher/internal/analysis"
	"sori.internal/services/dispatcher/internal/queue"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

func TestOneOwnersManyJobsDoNotDelayAnothersOne(t *testing.T) {
	t.Parallel()
	const slots, many = 2, 200
	env := newEnv(t)
	server := newLine(env)
	env.run(limited(slots))
	env.run(limited(slots))
	jobs := env.upload("alice", many)
	first := server.awaitStarts(slots)
	env.queued(many - slots)
	one := env.upload("bob", 1)[0]
	env.queued(many - slots + 1)
	if w := env.waiting(one); w.Code != "analysis-full" || !w.Until.IsZero() || w.Since.IsZero() {
		t.Errorf("published %+v", w)
	}
	testkit.Eventually(t, func() error {
		if n, seconds := env.metric("sori_analysis_queued"), env.metric("sori_analysis_queued_seconds"); n != fmt.Sprint(many-slots+1) || seconds == "0" {
			return fmt.Errorf("the metrics are %s and %s", n, seconds)
		}
		return nil
	})
	server.finish(first[0])
	if next := server.awaitStarts(slots + 1)[slots]; next != one {
		t.Errorf("%s started next, want %s", next, one)
	}
	server.release()
	env.complete(append(jobs, one)...)
	if server.most != slots {
		t.Errorf("%d ran at once, want %d", server.most, slots)
	}
}

func TestSlotsAreSharedEvenlyByTheOwnersWhoWait(t *testing.T) {
	t.Parallel()
	const each, rounds = 12, 27
	env := newEnv(t)
	server := newLine(env)
	env.run(limited(3))
	env.run(limited(3))
	owners := []string{"alice", "bob", "carol"}
	ownerOf := map[string]string{}
	var all []string
	for i, owner := range owners {
		for _, job := range env.upload(owner, each) {
			ownerOf[job] = owner
			all = append(all, job)
		}
		env.queued(uint64((i+1)*each - 3)) // the first three jobs of alice have the slots, all other jobs are queued
	}
	share := map[string]int{}
	for i := range rounds {
		server.finish(server.awaitStarts(i + 3)[i])
		share[ownerOf[server.awaitStarts(i + 4)[i+3]]]++
	}
	for _, owner := range owners {
		if n := share[owner]; n < rounds/3-1 || n > rounds/3+1 {
			t.Errorf("of %d analyses %d are of %s: %v", rounds, n, owner, share)
		}
	}
	server.release()
	env.complete(all...)
}

// A replica may die after any step of taking an attempt from the queue and sending it to the
// server.
func TestAnAttemptIsSentOnceWhereverAReplicaDiedThatScheduledIt(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	server := newLine(env)
	first := env.run(limited(1))
	running := env.upload("alice", 1)[0]
	server.awaitStarts(1)
	waiting := env.upload("bob", 3)
	env.queued(3)
	server.finish(running)
	aborted := server.awaitStarts(2)[1] // the slot that became free is assigned to the first job of bob in the queue
	must(t, first.Stop())

	ctx, q, slots := env.Context(), queue.New(env.bus), queue.NewSlots(env.bus, "ANALYSIS_SLOTS", 3)
	all, err := slots.Read(ctx)
	must(t, err)
	head, err := q.Next(ctx, "", 0)
	must(t, err)
	next, err := q.Next(ctx, "", head.Seq+1)
	must(t, err)
	for i, e := range []*analysis.Entry{head, next} {
		slot := all[i+1]
		slot.Job, slot.Entry = e.JobID, e.Seq
		if taken, err := slots.Write(ctx, slot); err != nil || !taken {
			t.Fatalf("slot %d: %v %v", i+1, taken, err)
		}
	}
	must(t, env.bus.Publish(ctx, event.Granted{JobID: next.JobID, Attempt: 1, Entry: next.Seq}))

	env.run(limited(3))
	server.awaitStarts(5) // the restarted dispatcher repeats the request that the stop aborted
	server.release()
	for _, job := range waiting {
		testkit.Await[event.Completed](env.Kit, env.bus, job)
	}
	env.queued(0)
	for _, job := range append(waiting, running) {
		want := 1
		if job == aborted {
			want = 2
		}
		if n := len(env.analyzer.requestsOf(job)); n != want {
			t.Errorf("job %s was requested %d times, want %d", job, n, want)
		}
	}
	env.complete(env.upload("carol", 6)...) // further jobs are completed, so no slot is leaked
}

func TestTheStopOfAReplicaLosesNoQueuedJobAndNoSlot(t *testing.T) {
	t.Parallel()
	const slots, jobs = 2, 12
	env := newEnv(t)
	server := newLine(env)
	settings := limited(slots)
	settings["SHUTDOWN_GRACE"] = "1ms"
	victim := env.run(settings)
	all := env.upload("alice", jobs)
	server.awaitStarts(slots)
	env.queued(jobs - slots)
	env.run(settings)
	must(t, victim.Stop()) // aborts the requests
	starts := server.awaitStarts(2 * slots)
	aborted, again := starts[:slots], starts[slots:]
	if slices.Sort(aborted); !slices.Equal(aborted, slices.Sorted(slices.Values(again))) {
		t.Errorf("%v were aborted, and %v sent next", aborted, again)
	}
	server.release()
	for _, job := range all {
		testkit.Await[event.Completed](env.Kit, env.bus, job)
		want := 1
		if slices.Contains(aborted, job) {
			want = 2
		}
		if n := len(env.analyzer.requestsOf(job)); n != want {
			t.Errorf("job %s was requested %d times, want %d", job, n, want)
		}
	}
	env.queued(0)
}

func TestAJobThatEndsInTheQueueIsNeverSent(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	server := newLine(env)
	env.run(limited(1))
	jobs := env.upload("alice", 5)
	server.awaitStarts(1)
	env.queued(4)
	running := server.awaitStarts(1)[0]
	jobs = slices.DeleteFunc(jobs, func(job string) bool { return job == running })
	env.append(event.Canceled{JobID: jobs[0]})
	log, err := env.jobs.Update(env.Context(), jobs[1], nil, func(event.Log) (event.Event, error) { return event.Erased{JobID: jobs[1]}, nil })
	must(t, err)
	must(t, env.jobs.Purge(env.Context(), jobs[1], log.Seq()))
	env.append(event.Failed{JobID: jobs[2], Attempt: 1, Code: event.CodeDispatchTimeout})
	server.finish(running)
	server.awaitStarts(2)
	env.queued(0)
	server.release()
	env.complete(running, jobs[3])
	for _, job := range jobs[:3] {
		if n := len(env.analyzer.requestsOf(job)); n != 0 {
			t.Errorf("job %s was requested %d times", job, n)
		}
	}
}

// The consumer delivers at most eight unacknowledged events, and alice uploads sixty jobs. Queued
// jobs must be acknowledged, so that bob's job is delivered and scheduled next.
func TestAnOwnersManyJobsDoNotBlockTheDeliveryOfAnothers(t *testing.T) {
	t.Parallel()
	const many = 60
	env := newEnv(t)
	server := newLine(env)
	_, err := env.bus.Provision(env.Context(), app.Resources())
	must(t, err)
	js, stream := env.JetStream(), env.Namespace().Stream(event.Jobs().Name)
	c, err := js.Consumer(env.Context(), stream, consumer)
	must(t, err)
	cfg := c.CachedInfo().Config
	cfg.MaxAckPending = 8
	_, err = js.CreateOrUpdateConsumer(env.Context(), stream, cfg)
	must(t, err)
	settings := limited(1)
	settings["NATS_PROVISION"] = "false"
	env.run(settings)
	jobs := env.upload("alice", many)
	one := env.upload("bob", 1)[0]
	env.queued(many)
	server.finish(server.awaitStarts(1)[0])
	if next := server.awaitStarts(2)[1]; next != one {
		t.Errorf("%s started next, want %s", next, one)
	}
	server.release()
	env.complete(append(jobs, one)...)
}

func TestWithoutALimitTheQueueIsEmptied(t *testing.T) {
	t.Parallel()
	const jobs = 20
	env := newEnv(t)
	server := newLine(env)
	before := env.run(limited(1))
	all := env.upload("alice", jobs)
	server.awaitStarts(1)
	env.queued(jobs - 1)
	must(t, before.Stop())
	env.run(nil)
	server.awaitStarts(1 + jobs)
	env.queued(0)
	server.release()
	for _, job := range all {
		testkit.Await[event.Completed](env.Kit, env.bus, job)
	}
}

func TestAnUnavailableServerDelaysQueuedAttemptsAndFreesTheirSlots(t *testing.T) {
	t.Parallel()
	const slots, jobs = 2, 10
	env := newEnv(t)
	server := newLine(env)
	finally := env.analyzer.answer
	env.analyzer.answer = func(w http.ResponseWriter, r request, n int) {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		finally(w, r, n)
	}
	settings := limited(slots)
	settings["ANALYSIS_BREAKER_FAILURES"], settings["ANALYSIS_BREAKER_DELAY"] = "3", "300ms"
	env.run(settings)
	env.run(settings)
	all := env.upload("alice", jobs)
	server.release()
	for _, job := range all {
		testkit.Await[event.Completed](env.Kit, env.bus, job)
		if n := len(env.analyzer.requestsOf(job)); n != 2 {
			t.Errorf("job %s was requested %d times", job, n)
		}
	}
	env.queued(0)
	if server.most > slots {
		t.Errorf("%d ran at once, want %d", server.most, slots)
	}
}

// The event `stored` of a queued job is handled twice, so the queue has two entries of the job.
func TestAJobThatIsQueuedTwiceIsSentOnce(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	settings := limited(1)
	env.run(settings)
	env.run(settings)
	jobs := env.upload("alice", 6)
	var running string
	testkit.Eventually(t, func() error {
		got := env.analyzer.all()
		if len(got) == 0 {
			return errors.New("no analysis has started")
		}
		running = got[0].field("job_id")
		return nil
	})
	testkit.Await[event.Dispatched](env.Kit, env.bus, running)
	env.queued(5)
	env.HandleAgain(consumer)
	env.queued(10)
	for range jobs {
		got := env.analyzer.all()
		last := got[len(got)-1]
		job := last.field("job_id")
		testkit.Await[event.Dispatched](env.Kit, env.bus, job)
		if r := env.call(last.field("webhook_url"), `{"analysis_results":{}}`); r.code != http.StatusOK {
			t.Fatalf("%+v", r)
		}
		if len(got) == len(jobs) {
			break
		}
		testkit.Eventually(t, func() error {
			if n := len(env.analyzer.all()); n == len(got) {
				return fmt.Errorf("%d analyses have started", n)
			}
			return nil
		})
	}
	env.complete(jobs...)
}

// The event `stored` of a job was handled twice. While the request of the job is open, the queue
// still has the job's second entry.
func TestASecondEntryOfARunningJobStartsNothingAndBlocksNobody(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	server := newLine(env)
	env.run(limited(2))
	running := env.upload("alice", 2)
	server.awaitStarts(2)
	must(t, queue.New(env.bus).Add(env.Context(), analysis.Entry{JobID: running[0], Attempt: 1, Owner: "0"}))
	next := env.upload("alice", 1)[0]
	env.queued(2)
	server.finish(running[1])
	if got := server.awaitStarts(3)[2]; got != next {
		t.Errorf("%s started next, want %s", got, next)
	}
	env.queued(1)
	server.release()
	env.complete(append(running, next)...)
}

// The queue has an entry that cannot be decoded. It must be removed, and the next entry scheduled.
func TestAnUnreadableEntryIsRemoved(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	server := newLine(env)
	for _, body := range []string{`{"attempt":1}`, `[`, ``, `{"job_id":"no job","attempt":1}`, `{"job_id":"` + env.NewJob() + `","attempt":-1}`} {
		_, err := env.JetStream().Publish(env.Context(), env.Namespace().Subject(event.QueueSubject("x")), []byte(body), jetstream.WithMsgID(body))
		must(t, err)
	}
	env.run(limited(1))
	jobs := env.upload("alice", 3)
	server.release()
	env.complete(jobs...)
}
