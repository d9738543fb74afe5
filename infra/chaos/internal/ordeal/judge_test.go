package ordeal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/chaos/internal/customer"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/stacktest"
	"sori.internal/shared/event"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// begin starts an ordeal in which nothing goes wrong, up to its judgement.
func begin(t *testing.T) *Ordeal {
	t.Helper()
	root, err := os.MkdirTemp("", "ordeal-") //nolint:usetesting // PostgreSQL's user must be able to pass through
	if err == nil {
		err = os.Chmod(root, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := newOrdeal(Options{Seed: 1, Jobs: 20, Customers: 4, Linger: time.Second, Dir: filepath.Join(root, "ordeal"), Say: t.Logf})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := errors.Join(o.close(ctx), stack.Remove(filepath.Join(o.opt.Dir, "stack")), os.RemoveAll(root))
		if err != nil {
			t.Error(err)
		}
	})
	if err := o.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.warmUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.suffer(t.Context()); err != nil {
		t.Fatal(err)
	}

	return o
}

// broken are the rules that a report finds broken.
func broken(r Report) map[customer.Rule]string {
	found := map[customer.Rule]string{}
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
	jobs := keys(o.crowd.Ledger().Ends())
	tamper := func(name string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	key := ""
	for object := range o.books.S3.ListObjects(ctx, o.books.Bucket, minio.ListObjectsOptions{Prefix: "audio/" + jobs[0], Recursive: true}) {
		key = object.Key
	}
	tamper("an object goes", o.books.S3.RemoveObject(ctx, o.books.Bucket, key, minio.RemoveObjectOptions{}))
	log, err := o.books.Bus.Log(ctx, jobs[1])
	tamper("read a log", err)
	_, err = o.books.Bus.Append(ctx, event.Canceled{JobID: jobs[1]}, log.Seq())
	tamper("a second end", err)
	stranger, err := event.NewJobID()
	tamper("make an id", err)
	_, err = o.books.Bus.Append(ctx, event.Received{JobID: stranger, TokenID: 1, Size: 1, Chunks: 1}, 0)
	tamper("a job of nobody's", err)
	_, err = o.books.AwaitEnds(ctx, append(jobs, stranger)) // it fails: its audio is nowhere
	tamper("the end of the stranger", err)
	_, err = o.books.DB.ExecContext(ctx, `UPDATE tracker.analysis_results SET version = version + 1, status = 'canceled' WHERE job_id = $1`, jobs[3])
	tamper("a row says something else", err)
	o.before["gateway-0"] = holding{goroutines: -moreGoroutines}

	found := broken(o.judge(ctx))
	for _, rule := range []customer.Rule{agreement, strangers, farewells, outcomes, remains} {
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
