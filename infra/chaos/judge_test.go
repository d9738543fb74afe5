package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
)

// begin runs an experiment without faults, and returns it before the invariants are checked.
func begin(t *testing.T) *experiment {
	t.Helper()
	o := newExperiment(options{Seed: 1, Jobs: 20, Clients: 4, Linger: time.Second, Sweep: 20 * time.Second, Say: t.Logf})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(o.close(ctx), o.remove()); err != nil {
			t.Error(err)
		}
	})
	for _, step := range []func(context.Context) error{o.open, o.warmUp, o.run} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// broken returns the violations in a report, by invariant.
func broken(r report) map[loadgen.Rule]string {
	found := map[loadgen.Rule]string{}
	for _, v := range r.verdicts {
		if len(v.wrongs) > 0 {
			found[v.rule] = strings.Join(v.wrongs, "\n")
		}
	}
	return found
}

func TestTheJudgementSeesWhatIsBroken(t *testing.T) {
	t.Parallel()
	o := begin(t)
	ctx := t.Context()
	if found := broken(o.judge(ctx)); len(found) > 0 {
		t.Fatalf("where nothing went wrong: %v", found)
	}
	ends := o.clients.Ledger().Ends()
	maps.DeleteFunc(ends, func(_, status string) bool { return status != "completed" })
	jobs := slices.Sorted(maps.Keys(ends))
	tamper := func(name string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	key := ""
	for object := range o.checker.S3.ListObjects(ctx, o.checker.Bucket, minio.ListObjectsOptions{Prefix: "audio/" + jobs[0], Recursive: true}) {
		key = object.Key
	}
	tamper("an object goes", o.checker.S3.RemoveObject(ctx, o.checker.Bucket, key, minio.RemoveObjectOptions{}))
	log, err := joblog.New(o.checker.Bus).Read(ctx, jobs[1])
	tamper("read a log", err)
	_, err = joblog.New(o.checker.Bus).Append(ctx, event.Canceled{JobID: jobs[1]}, log.Seq())
	tamper("a second end", err)
	stranger, err := event.NewJobID()
	tamper("make an id", err)
	_, err = joblog.New(o.checker.Bus).Append(ctx, event.Received{JobID: stranger, TokenID: 1, Size: 1, Chunks: 1}, 0)
	tamper("a job of nobody's", err)
	rows, err := o.checker.AwaitEnds(ctx, jobs) // also waits for the end of the stranger, since the log contains it
	tamper("the end of the stranger", err)
	if status := rows[stranger].Status; status != "failed" { // the job must fail, since staging contains no recording of it
		t.Errorf("the stranger is %q", status)
	}
	_, err = o.checker.DB.ExecContext(ctx, `UPDATE tracker.analysis_results SET version = version + 1, status = 'canceled' WHERE job_id = $1`, jobs[3])
	tamper("a row says something else", err)
	_, err = o.checker.DB.ExecContext(ctx, `UPDATE tracker.analysis_results SET owner = 'another' WHERE job_id = $1`, jobs[4])
	tamper("a job becomes another's", err)
	log, err = joblog.New(o.checker.Bus).Read(ctx, jobs[2])
	tamper("read a log", err)
	_, err = joblog.New(o.checker.Bus).Append(ctx, event.Completed{JobID: jobs[2], Attempt: 7, Cached: true, CachedFrom: stranger}, log.Seq())
	tamper("a result is that of a job without one", err)
	_, err = minio.Core{Client: o.checker.S3}.NewMultipartUpload(ctx, o.checker.Bucket, "elsewhere", minio.PutObjectOptions{})
	tamper("an upload that no sweep finds", err)
	log, err = joblog.New(o.checker.Bus).Read(ctx, jobs[5])
	tamper("read a log", err)
	_, err = joblog.New(o.checker.Bus).Append(ctx, event.Erased{JobID: jobs[5]}, log.Seq())
	tamper("a job is erased", err)
	tamper("its erasure", invariants.Await(ctx, settleIn, func() error { return o.checker.Idle(ctx) }))
	ack, err := o.checker.Bus.PublishBytes(event.ResultSubject(1, strings.Repeat("0", 64), jobs[5], 0), []byte("{}"))
	tamper("a result of it is cached", errors.Join(err, ack.Wait(ctx)))
	o.opt.Sweep = time.Second
	o.before["gateway-0"] = holding{goroutines: -moreGoroutines}

	found := broken(o.judge(ctx))
	for _, rule := range []loadgen.Rule{agreement, unknown, cached, seenEnds, outcomes, loadgen.Owners, remains, uploads, sharing} {
		if found[rule] == "" {
			t.Errorf("not seen: %s", rule)
		}
	}
	for _, job := range jobs[:2] {
		if !strings.Contains(found[agreement], job) {
			t.Errorf("job %s is not found out: %s", job, found[agreement])
		}
	}
}

func TestTheJudgementComparesTheLogsWithWhatTheClientsKnow(t *testing.T) {
	t.Parallel()
	promises := map[string]loadgen.Promise{"sent": {SHA256: "aa"}, "fresh": {SHA256: "aa", Fresh: true}}
	received := func(file string) invariants.Recorded {
		return invariants.Recorded{Event: event.Received{FileName: file}}
	}
	stored := func(sum string) invariants.Recorded { return invariants.Recorded{Event: event.Stored{SHA256: sum}} }
	completed := invariants.Recorded{Event: event.Completed{Cached: true}}
	good := map[string][]invariants.Recorded{
		"sent": {received("a"), stored("aa"), completed}, "fresh": {received("b"), stored("aa")}, "unnoticed": {received("lost"), stored("bb")},
	}
	bad := map[string][]invariants.Recorded{
		"sent": {received("a"), stored("bb")}, "fresh": {received("b"), stored("aa"), completed}, "unnoticed": {received("c"), stored("bb")},
	}
	lost := map[string]bool{"lost": true}
	for wrongs, logs := range map[int]map[string][]invariants.Recorded{0: good, 1: bad} {
		strangers, unnoticed := unknownJobs(promises, lost, logs)
		if len(strangers) != wrongs || unnoticed["unnoticed"] != (wrongs == 0) {
			t.Errorf("unknown are %v, unnoticed %v", strangers, unnoticed)
		}
		if found := damaged(promises, logs); len(found) != wrongs {
			t.Errorf("damaged are %v", found)
		}
		if found := unwanted(promises, logs); len(found) != wrongs {
			t.Errorf("unwanted are %v", found)
		}
	}
}
