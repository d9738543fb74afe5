package upload_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/services/gateway/internal/store"
	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/joblog"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/testdb"
)

// env has the dependencies of a core, all of them real.
type env struct {
	*testkit.Kit
	t       *testing.T
	bus     *bus.Bus
	jobLog  upload.JobLog
	staging upload.Staging
	db      *sqlx.DB
	rows    *store.Store
	token   int64
}

func newEnv(t *testing.T) *env {
	t.Helper()
	k := testkit.New(t)
	db := testdb.Open(k, store.Schema)
	c := &env{Kit: k, t: t, bus: k.Bus("gateway", event.Jobs(), event.Staging()), db: db, rows: store.New(db)}
	c.jobLog, c.staging = joblog.New(c.bus), staging.New(c.bus)
	must(t, c.rows.Migrate(k.Context()))
	token, err := c.rows.CreateToken(k.Context(), catalogue.Token{Name: "a", Actor: "b", End: 1})
	must(t, err)
	c.token = token.ID
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// accept uploads a recording with an idempotency key. The core uses the given log of jobs and
// claims.
func (c *env) accept(log upload.JobLog, claims upload.Claims) (upload.Accepted, error) {
	return c.acceptOf("", log, claims)
}

// acceptOf uploads as an owner.
func (c *env) acceptOf(owner string, log upload.JobLog, claims upload.Claims) (upload.Accepted, error) {
	limits := upload.Limits{MaxBytes: 1 << 20, Concurrent: 1, Lease: time.Hour}
	body := "--b\r\nContent-Disposition: form-data; name=file\r\n\r\nfLaC\x00\x00\x00\x22" + strings.Repeat("x", 600<<10) + "\r\n--b--\r\n"
	return upload.New(upload.Dependencies{
		Tokens: c.rows, Staging: c.staging, JobLog: log, Claims: claims, Usage: c.bus.NewUsage(),
	}, limits).Accept(c.Context(), upload.Request{
		TokenID: c.token, Owner: owner, ContentType: "multipart/form-data; boundary=b", Length: int64(len(body)),
		Body: bytes.NewReader([]byte(body)), IdempotencyKey: []string{"k"},
	})
}

// jobs returns the accepted jobs and the staged entries.
func (c *env) jobs() (jobs []string, staged map[string]int) {
	c.t.Helper()
	for _, m := range c.Messages(event.Jobs()) {
		id, _, err := event.ParseSubject(m.Subject)
		must(c.t, err)
		jobs = append(jobs, id)
	}
	staged, err := staging.New(c.bus).Entries(c.Context())
	must(c.t, err)
	return jobs, staged
}

// lossyLog is a log of jobs whose first Append and first Read may fail.
type lossyLog struct {
	upload.JobLog
	append, log error // errors of the first Append and the first Read; if kept is true, Append stores the event and then fails
	kept        bool
}

func (f *lossyLog) Append(ctx context.Context, e event.Event, after uint64) (uint64, error) {
	if err := f.append; err != nil {
		f.append = nil
		if f.kept {
			_, _ = f.JobLog.Append(ctx, e, after)
		}
		return 0, err
	}
	return f.JobLog.Append(ctx, e, after)
}

func (f *lossyLog) Read(ctx context.Context, job string) (event.Log, error) {
	if err := f.log; err != nil {
		f.log = nil
		return nil, err
	}
	return f.JobLog.Read(ctx, job)
}

// Another owner with the same key and the same bytes gets another job, and learns nothing about the
// first job.
func TestAKeyIsOfItsOwnerAlone(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	jobs := map[string]string{}
	for _, owner := range []string{"", "alice", "bob"} {
		first, err := c.acceptOf(owner, c.jobLog, c.rows)
		must(t, err)
		again, err := c.acceptOf(owner, c.jobLog, c.rows)
		must(t, err)
		if first.Replayed || !again.Replayed || again.JobID != first.JobID {
			t.Errorf("%q: %+v, then %+v", owner, first, again)
		}
		if other, ok := jobs[first.JobID]; ok {
			t.Errorf("%q and %q have one job", owner, other)
		}
		jobs[first.JobID] = owner
		log, err := c.jobLog.Read(c.Context(), first.JobID)
		must(t, err)
		if received, _ := event.Last[event.Received](log); received.Owner != owner {
			t.Errorf("the job of %q is received as one of %q", owner, received.Owner)
		}
	}
}

func TestAnUploadWhoseOutcomeIsUnknownNeverBecomesTwoJobs(t *testing.T) {
	t.Parallel()
	away := fault.Unreachable("message bus", errors.New("no answer"))
	for name, f := range map[string]lossyLog{
		"stored, the answer was lost":   {append: away, kept: true},
		"stored, and not confirmed":     {log: away},
		"not stored":                    {append: away},
		"stored, and the log is silent": {append: away, log: away, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newEnv(t)
			f.JobLog = c.jobLog
			var done upload.Accepted
			tries := 0
			for err := error(away); err != nil; tries++ {
				if done, err = c.accept(&f, c.rows); err != nil && !fault.Is(err, fault.Unavailable) {
					t.Fatal(err)
				}
			}
			jobs, _ := c.jobs()
			if tries < 2 || len(jobs) != 1 || jobs[0] != done.JobID || done.Replayed != (name != "not stored") {
				t.Errorf("%d tries, %v, accepted %+v", tries, jobs, done)
			}
		})
	}
}

func TestARefusedEventFreesTheKeyAndRemovesTheBytes(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	f := &lossyLog{JobLog: c.jobLog, append: &fault.Error{Kind: fault.Exhausted, Code: "bus-full"}}
	if _, err := c.accept(f, c.rows); !fault.Is(err, fault.Exhausted) {
		t.Fatal(err)
	}
	if jobs, staged := c.jobs(); len(jobs)+len(staged) != 0 {
		t.Errorf("left %v %v", jobs, staged)
	}
	if done, err := c.accept(f, c.rows); err != nil || done.Replayed {
		t.Errorf("%+v %v", done, err)
	}
}

// lostClaims are claims that cannot be renewed, finished or freed.
type lostClaims struct{ upload.Claims }

func (lostClaims) Renew(context.Context, upload.Claim, time.Duration) error  { return errDatabase }
func (lostClaims) Finish(context.Context, upload.Claim, time.Duration) error { return errDatabase }
func (lostClaims) Free(context.Context, upload.Claim) error                  { return errDatabase }

var errDatabase = fault.Unreachable("database", errors.New("gone"))

func TestADurableUploadIsAcceptedEvenIfItsClaimCannotBeFinished(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	if done, err := c.accept(c.jobLog, lostClaims{c.rows}); err != nil || done.Replayed {
		t.Fatalf("%+v %v", done, err)
	}
	if _, err := c.accept(c.jobLog, c.rows); !fault.Is(err, fault.Conflict) {
		t.Errorf("before the lease is over: %v", err)
	}
}

// closedStaging is a staging area that fails if an upload stages bytes.
type closedStaging struct{ upload.Staging }

func (closedStaging) Stage(context.Context, string, io.Reader) (event.Staged, error) {
	return event.Staged{}, errors.New("bytes were stored again")
}

func TestAnUploadThatDiedAfterItsEventIsReplayedWithoutStoring(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	first, err := c.accept(c.jobLog, lostClaims{c.rows})
	must(t, err)
	_, err = c.db.ExecContext(c.Context(), `UPDATE catalogue.upload_keys SET lease_until = now()`)
	must(t, err)
	c.staging = closedStaging{c.staging}
	for range 2 { // the first upload finds the job in the log, the second one in the claim
		if done, err := c.accept(c.jobLog, c.rows); err != nil || !done.Replayed || done.JobID != first.JobID {
			t.Errorf("%+v %v", done, err)
		}
	}
}

func TestTheSweeperEndsWithItsContextAndSurvivesFailures(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	called := make(chan struct{})
	ended := make(chan error)
	go func() { ended <- upload.NewSweeper(failingKeys(called), time.Millisecond, zerolog.Nop()).Run(ctx) }()
	<-called
	<-called
	cancel()
	for {
		select {
		case <-called:
		case err := <-ended:
			must(t, err)
			return
		}
	}
}

// failingKeys sends a value on the channel for every call, and fails.
type failingKeys chan struct{}

func (s failingKeys) DeleteExpiredKeys(context.Context) (int64, error) {
	s <- struct{}{}
	return 0, errDatabase
}
