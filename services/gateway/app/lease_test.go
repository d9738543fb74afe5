package app_test

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"sori.internal/shared/testkit"
)

// crash writes the claim of an upload that died before it appended its event. It returns the job of
// the claim.
func (g *env) crash(key, lease string) string {
	g.t.Helper()
	job, sum := g.kit.NewJob(), sha256.Sum256([]byte(key))
	g.sql(`INSERT INTO catalogue.upload_keys (key_hash, token_id, job_id, holder, lease_until, expires_at)
		VALUES ($1, $2, $3, gen_random_uuid(), now() + $4::interval, now() + interval '1 day')`, sum[:], g.token, job, lease)
	return job
}

// uploadWhile repeats an upload as long as the status of the answer equals the parameter passing.
// It returns the first answer with another status.
func (g *env) uploadWhile(passing int, key string, content []byte) reply {
	g.t.Helper()
	var r reply
	testkit.Eventually(g.t, func() error {
		if r = g.uploadWithKey(key, content); r.StatusCode == passing {
			return fmt.Errorf("%s: %s", r.Status, r.text)
		}
		return nil
	})
	return r
}

func TestACrashBlocksTheKeyForItsLeaseAndLeavesItsJob(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	content := wav(600 << 10)
	job := g.crash("k", "1 hour")
	g.problem(g.uploadWithKey("k", content), 409, "idempotency-key-in-use")
	g.sql(`UPDATE catalogue.upload_keys SET lease_until = now() + interval '500 milliseconds'`)
	if got := g.checkAccepted(g.uploadWhile(http.StatusConflict, "k", content), false); got != job {
		t.Errorf("job %s became %s", job, got)
	}
	if entry := g.received(job).Entry; !strings.HasPrefix(entry, job+"-upload-") {
		t.Errorf("it is staged as %q, where the dead one may still write", entry)
	}
	g.checkAccepted(g.uploadWithKey("k", content), true)
	g.problem(g.uploadWithKey("k", wav(100)), 422, "idempotency-key-reused")
	g.checkOnly(job, content)
}

func TestAnUploadAfterACrashBehindTheEventIsAReplay(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	other, content := g.startReplica(nil), wav(600<<10)
	job := g.checkAccepted(g.uploadWithKey("k", content), false)
	crash := func() {
		g.sql(`UPDATE catalogue.upload_keys SET sha256 = NULL, holder = gen_random_uuid(), lease_until = now()`)
	}
	crash()
	if got := g.checkAccepted(other.uploadWithKey("k", content), true); got != job {
		t.Errorf("job %s became %s", job, got)
	}
	g.awaitCondition(`EXISTS (SELECT FROM catalogue.upload_keys WHERE sha256 IS NOT NULL)`)
	crash()
	g.problem(other.uploadWithKey("k", wav(100)), 422, "idempotency-key-reused")
	if got := g.checkAccepted(g.uploadWithKey("k", content), true); got != job {
		t.Errorf("after other bytes job %s became %s", job, got)
	}
	g.checkOnly(job, content)
}

func TestAFailedTakeoverReleasesTheKeyAndKeepsItsJob(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	content := wav(600 << 10)
	job := g.crash("k", "0")
	b := g.begin("k", content)
	_ = b.Conn.(*net.TCPConn).CloseWrite()
	g.problem(b.answer(), 400, "body-truncated")
	g.awaitCondition(lapsed)
	if got := g.checkAccepted(g.uploadWithKey("k", wav(100)), false); got != job {
		t.Errorf("job %s became %s", job, got)
	}
	g.checkOnly(job, wav(100))
}

func TestALiveUploadRenewsItsLease(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"IDEMPOTENCY_LEASE": "500ms"})
	content := wav(600 << 10)
	b := g.begin("k", content)
	g.awaitCondition(`EXISTS (SELECT FROM catalogue.upload_keys WHERE lease_until > created_at + interval '1500 milliseconds')`)
	g.problem(g.uploadWithKey("k", content), 409, "idempotency-key-in-use")
	job := g.checkAccepted(b.finish(), false)
	g.checkOnly(job, content)
}

// The lease of an upload ends while the upload continues, and a second upload with the same key
// begins. Only one of the two may become a job. The lease is an hour, so that the first upload does
// not renew it during the test.
func TestAnUploadThatContinuesAfterItsLeaseMakesNoSecondJob(t *testing.T) {
	t.Parallel()
	content, others := wav(600<<10), append(wav(600<<10), 1)
	for name, run := range map[string]func(g *env, first begun){
		"it ends later, with the same bytes": func(g *env, first begun) {
			job := g.checkAccepted(g.uploadWithKey("k", content), false)
			if got := g.checkAccepted(first.finish(), true); got != job {
				g.t.Errorf("job %s became %s", job, got)
			}
			g.checkOnly(job, content)
		},
		"it ends later, with other bytes": func(g *env, first begun) {
			job := g.checkAccepted(g.uploadWithKey("k", others), false)
			g.problem(first.finish(), 422, "idempotency-key-reused")
			g.checkOnly(job, others)
		},
		"it fails later": func(g *env, first begun) {
			job := g.checkAccepted(g.uploadWithKey("k", content), false)
			_ = first.Conn.(*net.TCPConn).CloseWrite()
			g.problem(first.answer(), 400, "body-truncated")
			g.checkOnly(job, content)
			g.checkAccepted(g.uploadWithKey("k", content), true)
		},
		"it ends first": func(g *env, first begun) {
			second := g.begin("k", content)
			job := g.checkAccepted(first.finish(), false)
			if got := g.checkAccepted(second.finish(), true); got != job {
				g.t.Errorf("job %s became %s", job, got)
			}
			g.checkOnly(job, content)
			g.checkAccepted(g.uploadWithKey("k", content), true)
		},
		"it ends first, with other bytes": func(g *env, first begun) {
			second := g.begin("k", others)
			job := g.checkAccepted(first.finish(), false)
			g.problem(second.finish(), 422, "idempotency-key-reused")
			g.checkOnly(job, content)
			g.checkAccepted(g.uploadWithKey("k", content), true)
		},
		"it fails first": func(g *env, first begun) {
			second := g.begin("k", content)
			_ = first.Conn.(*net.TCPConn).CloseWrite()
			g.problem(first.answer(), 400, "body-truncated")
			g.problem(g.uploadWithKey("k", content), 409, "idempotency-key-in-use")
			job := g.checkAccepted(second.finish(), false)
			g.checkOnly(job, content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, map[string]string{"IDEMPOTENCY_LEASE": "1h"})
			first := g.begin("k", content)
			g.sql(`UPDATE catalogue.upload_keys SET lease_until = now()`)
			run(g, first)
		})
	}
}

func TestAnUploadDuringWhichPostgresIsAwayMakesNoSecondJob(t *testing.T) {
	t.Parallel()
	g, _, db := withFaultProxies(t)
	g.withToken()
	content := wav(600 << 10)
	b := g.begin("k", content)
	db.Cut()
	job := g.checkAccepted(b.finish(), false)
	db.Restore()
	g.problem(g.uploadWhile(http.StatusServiceUnavailable, "k", content), 409, "idempotency-key-in-use")
	g.sql(`UPDATE catalogue.upload_keys SET lease_until = now()`)
	if got := g.checkAccepted(g.uploadWhile(http.StatusServiceUnavailable, "k", content), true); got != job {
		t.Errorf("job %s became %s", job, got)
	}
	g.checkOnly(job, content)
}
