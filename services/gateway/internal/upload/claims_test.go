package upload_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/source"
	"sori.internal/shared/testkit/faults"
)

// fetch requests the analysis of a recording at a URL, with the idempotency key "k".
func (c *env) fetch(d upload.Dependencies, secret string) (upload.Accepted, error) {
	c.t.Helper()
	sealer, err := source.NewSealer(secret)
	must(c.t, err)
	d.Tokens, d.Staging, d.Usage, d.Sealer = c.rows, c.staging, c.bus.NewUsage(), sealer
	return upload.New(d, upload.Limits{Lease: time.Hour}).AcceptSource(c.Context(), upload.AnalyzeRequest{
		TokenID: c.token, Body: []byte(`{"audio_url":"https://example.com/a.wav"}`), IdempotencyKey: []string{"k"},
	})
}

func (c *env) endLeases() {
	c.t.Helper()
	_, err := c.db.ExecContext(c.Context(), `UPDATE catalogue.upload_keys SET lease_until = now()`)
	must(c.t, err)
}

func TestTwoKeysAreRefusedBeforeAnythingIsStored(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	core := c.core(faults.New(false))
	_, form := core.Accept(c.Context(), upload.Request{TokenID: c.token, IdempotencyKey: []string{"a", "b"}})
	_, url := core.AcceptSource(c.Context(), upload.AnalyzeRequest{
		TokenID: c.token, Body: []byte(`{"audio_url":"https://example.com/a.wav"}`), IdempotencyKey: []string{"a", "b"},
	})
	for name, err := range map[string]error{"a form": form, "a URL": url} {
		if f := fault.As(err); f == nil || f.Code != "malformed-idempotency-key" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if jobs, staged := c.jobs(); len(jobs)+len(staged) != 0 {
		t.Errorf("stored %v, %v", jobs, staged)
	}
}

// The request that began the job died before it answered, and the operator has changed the secret
// since. Nobody can know whether the repeated request has the same source.
func TestAKeyWhoseSourceCannotBeReadBeginsNoSecondJob(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	_, err := c.fetch(upload.Dependencies{JobLog: c.jobLog, Claims: lostClaims{c.rows}}, "the former secret of the services")
	must(t, err)
	c.endLeases()
	_, err = c.fetch(upload.Dependencies{JobLog: c.jobLog, Claims: c.rows}, "the present secret of the services")
	if f := fault.As(err); f == nil || f.Code != "source-unreadable" {
		t.Errorf("%v", err)
	}
	if jobs, _ := c.jobs(); len(jobs) != 1 {
		t.Errorf("%v", jobs)
	}
}

// A short retention may delete the first event of a job that still runs.
func TestAKeyWhoseJobHasLostItsFirstEventBeginsNoSecondJob(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	done, err := c.accept(c.jobLog, lostClaims{c.rows})
	must(t, err)
	c.Append(c.bus, event.Stored{JobID: done.JobID})
	log, err := c.jobLog.Read(c.Context(), done.JobID)
	must(t, err)
	must(t, c.bus.Stream(event.Jobs()).Delete(c.Context(), log[0].Seq))
	c.endLeases()
	if again, err := c.accept(c.jobLog, c.rows); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%+v, %v", again, err)
	}
	if jobs, _ := c.jobs(); len(jobs) != 1 || jobs[0] != done.JobID {
		t.Errorf("%v", jobs)
	}
}

// A failure to remove bytes must not replace the reason for which the upload is refused.
func TestARefusedUploadIsToldWhyEvenIfItsBytesCannotBeRemoved(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	full := &fault.Error{Kind: fault.Exhausted, Code: "bus-full"}
	c.staging = keptStaging{c.staging}
	if _, err := c.accept(&lossyLog{JobLog: c.jobLog, append: full}, c.rows); !errors.Is(err, full) {
		t.Errorf("a form: %v", err)
	}
	if _, err := c.fetch(upload.Dependencies{JobLog: &lossyLog{JobLog: c.jobLog, append: full}, Claims: c.rows}, "secret"); !errors.Is(err, full) {
		t.Errorf("a URL: %v", err)
	}
}

// keptStaging is a staging area from which nothing can be removed.
type keptStaging struct{ upload.Staging }

func (keptStaging) Delete(context.Context, string) error { return errBus }

var errBus = fault.Unreachable("message bus", errors.New("gone"))

// awaitedClaims closes a channel when a lease could not be renewed.
type awaitedClaims struct {
	upload.Claims
	tried chan struct{}
}

func (a awaitedClaims) Renew(context.Context, upload.Claim, time.Duration) error {
	select {
	case <-a.tried:
	default:
		close(a.tried)
	}
	return errDatabase
}

func TestAnUploadWhoseLeaseCannotBeRenewedContinues(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	ctx := c.Context()
	claims := awaitedClaims{c.rows, make(chan struct{})}
	form := "--b\r\nContent-Disposition: form-data; name=file\r\n\r\nfLaC\x00\x00\x00\x22" + strings.Repeat("x", 600<<10) + "\r\n--b--\r\n"
	const first = 300 << 10
	late := readerFunc(func([]byte) (int, error) { // the rest of the body arrives when the lease was to be renewed
		select {
		case <-claims.tried:
			return 0, io.EOF
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	core := upload.New(upload.Dependencies{
		Tokens: c.rows, Staging: c.staging, JobLog: c.jobLog, Claims: claims, Usage: c.bus.NewUsage(),
	}, upload.Limits{MaxBytes: 1 << 20, Concurrent: 1, Lease: 3 * time.Millisecond})
	done, err := core.Accept(c.Context(), upload.Request{
		TokenID: c.token, ContentType: "multipart/form-data; boundary=b", Length: int64(len(form)), IdempotencyKey: []string{"k"},
		Body: io.MultiReader(bytes.NewReader([]byte(form[:first])), late, bytes.NewReader([]byte(form[first:]))),
	})
	if jobs, _ := c.jobs(); err != nil || len(jobs) != 1 || jobs[0] != done.JobID {
		t.Errorf("%+v, %v, %v", done, err, jobs)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
