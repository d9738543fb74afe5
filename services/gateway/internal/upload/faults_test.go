package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/source"
	"sori.internal/shared/staging"
	"sori.internal/shared/testkit/faults"
)

type faultyTokens struct {
	f      *faults.Plan
	tokens upload.Tokens
}

func (t faultyTokens) References(ctx context.Context, token int64) (upload.References, error) {
	return faults.Read(t.f, "Tokens.References", func() (upload.References, error) { return t.tokens.References(ctx, token) })
}

type faultyStaging struct {
	f       *faults.Plan
	staging upload.Staging
}

func (s faultyStaging) Put(ctx context.Context, entry string, r io.Reader) (event.Staged, error) {
	return faults.Write(s.f, "Staging.Put", func() (event.Staged, error) { return s.staging.Put(ctx, entry, r) })
}

func (s faultyStaging) Delete(ctx context.Context, entry string) error {
	return faults.Run(s.f, "Staging.Delete", func() error { return s.staging.Delete(ctx, entry) })
}

type faultyLog struct {
	f   *faults.Plan
	log upload.JobLog
}

func (l faultyLog) Append(ctx context.Context, e event.Event, after uint64) (uint64, error) {
	return faults.Write(l.f, "JobLog.Append", func() (uint64, error) { return l.log.Append(ctx, e, after) })
}

func (l faultyLog) Read(ctx context.Context, job string) (event.Log, error) {
	return faults.Read(l.f, "JobLog.Read", func() (event.Log, error) { return l.log.Read(ctx, job) })
}

type faultyClaims struct {
	f      *faults.Plan
	claims upload.Claims
}

func (c faultyClaims) Claim(ctx context.Context, wanted upload.Claim, lease, keep time.Duration) (upload.Claim, error) {
	return faults.Write(c.f, "Claims.Claim", func() (upload.Claim, error) { return c.claims.Claim(ctx, wanted, lease, keep) })
}

func (c faultyClaims) Renew(ctx context.Context, claim upload.Claim, lease time.Duration) error {
	return faults.Run(c.f, "Claims.Renew", func() error { return c.claims.Renew(ctx, claim, lease) })
}

func (c faultyClaims) Finish(ctx context.Context, claim upload.Claim, keep time.Duration) error {
	return faults.Run(c.f, "Claims.Finish", func() error { return c.claims.Finish(ctx, claim, keep) })
}

func (c faultyClaims) Free(ctx context.Context, claim upload.Claim) error {
	return faults.Run(c.f, "Claims.Free", func() error { return c.claims.Free(ctx, claim) })
}

// core makes a core in whose dependencies operations fail, as a replica that starts does.
func (c *env) core(f *faults.Plan) *upload.Core {
	c.t.Helper()
	sealer, err := source.NewSealer("test-secret-of-enough-length-0123")
	must(c.t, err)
	return upload.New(upload.Dependencies{
		Tokens: faultyTokens{f, c.rows}, Staging: faultyStaging{f, c.staging}, JobLog: faultyLog{f, c.jobLog}, Claims: faultyClaims{f, c.rows},
		Usage: c.bus.NewUsage(), Sealer: sealer,
	}, upload.Limits{MaxBytes: 1 << 20, Concurrent: 1, Lease: time.Hour})
}

// until repeats a request, as a client does, until it is accepted. The lease of a key ends before
// the client repeats a request that is refused because the key is in use.
func (c *env) until(send func() (upload.Accepted, error)) (upload.Accepted, error) {
	for try := 1; ; try++ {
		done, err := send()
		switch {
		case err == nil || try == 6:
			return done, err
		case fault.Is(err, fault.Conflict):
			if _, err := c.db.ExecContext(c.Context(), `UPDATE catalogue.upload_keys SET lease_until = now()`); err != nil {
				return done, err
			}
		case !fault.Is(err, fault.Unavailable):
			return done, err
		}
	}
}

// received returns the jobs that have begun since a message of the stream of jobs.
func (c *env) received(next uint64) (jobs []string) {
	c.t.Helper()
	for {
		m, err := c.bus.Stream(event.Jobs()).NextFromLeader(c.Context(), event.Filter(event.NameReceived), next)
		must(c.t, err)
		if m == nil {
			return jobs
		}
		job, _, err := event.ParseSubject(m.Subject)
		must(c.t, err)
		jobs, next = append(jobs, job), m.Seq+1
	}
}

// One or two operations fail while a client repeats its request until it is accepted. Whichever
// they are, the key has one job, and repeating the request again returns that job.
func TestAKeyHasOneJobWhicheverOperationsFail(t *testing.T) {
	t.Parallel()
	form := "--b\r\nContent-Disposition: form-data; name=file\r\n\r\nfLaC\x00\x00\x00\x22" + strings.Repeat("x", 2<<10) + "\r\n--b--\r\n"
	for name, send := range map[string]func(c *env, core *upload.Core, key string) (upload.Accepted, error){
		"a form": func(c *env, core *upload.Core, key string) (upload.Accepted, error) {
			return core.Accept(c.Context(), upload.Request{
				TokenID: c.token, ContentType: "multipart/form-data; boundary=b", Length: int64(len(form)),
				Body: bytes.NewReader([]byte(form)), IdempotencyKey: []string{key},
			})
		},
		"a URL": func(c *env, core *upload.Core, key string) (upload.Accepted, error) {
			return core.AcceptSource(c.Context(), upload.AnalyzeRequest{
				TokenID: c.token, Body: []byte(`{"audio_url":"https://example.com/a.wav"}`), IdempotencyKey: []string{key},
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newEnv(t)
			keys := 0
			try := func(lost bool, at ...int) (operations int) {
				f := faults.New(lost, at...)
				core, key := c.core(f), fmt.Sprint("key ", keys)
				keys++
				info, err := c.bus.Stream(event.Jobs()).Info(c.Context())
				must(t, err)
				request := func() (upload.Accepted, error) { return send(c, core, key) }
				done, err := c.until(request)
				operations = len(f.Operations())
				if err == nil {
					var again upload.Accepted
					if again, err = c.until(request); err == nil && (!again.Replayed || again.JobID != done.JobID) {
						err = fmt.Errorf("accepted as %+v, then as %+v", done, again)
					}
				}
				jobs := c.received(info.LastSeq + 1)
				if err != nil || len(jobs) != 1 || jobs[0] != done.JobID {
					t.Fatalf("%v fail, responses lost: %t: %v, the jobs %v have begun: %v", at, lost, done, jobs, errors.Join(err, fmt.Errorf("%v", f.Operations())))
				}
				return operations
			}
			for first := range try(false) {
				for _, lost := range []bool{false, true} {
					for second := first + 1; second < try(lost, first); second++ {
						try(lost, first, second)
					}
				}
			}
			c.areStaged(c.received(1))
		})
	}
}

// areStaged checks that the bytes of the jobs are staged.
func (c *env) areStaged(jobs []string) {
	c.t.Helper()
	entries, err := staging.New(c.bus).Entries(c.Context())
	must(c.t, err)
	for _, job := range jobs {
		log, err := c.jobLog.Read(c.Context(), job)
		must(c.t, err)
		r, _ := event.Last[event.Received](log)
		if entry := r.Staged().Entry; r.Source == "" && entries[entry] != r.Chunks {
			c.t.Errorf("job %s has %d chunks, want %d", job, entries[entry], r.Chunks)
		}
	}
}
