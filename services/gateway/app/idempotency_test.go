package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
	"sori.internal/shared/testkit/testdb"
)

// startReplica starts another replica of the same gateway.
func (g *env) startReplica(changes map[string]string) *env {
	g.t.Helper()
	other := *g
	i := g.kit.Run(app.Run, settings(g.kit, changes))
	other.url, other.stop = i.URL, i.Stop
	other.ready()
	return &other
}

// uploadWithKey uploads a recording with an idempotency key.
func (g *env) uploadWithKey(key string, content []byte) reply {
	g.t.Helper()
	return g.upload(map[string]string{"Idempotency-Key": key}, part{name: "file", file: "a.wav", content: content})
}

// checkAccepted checks that a reply is a 202, and whether it is a replay. It returns the job.
func (g *env) checkAccepted(r reply, replayed bool) string {
	g.t.Helper()
	job, _ := r.json(g.t)["job_id"].(string)
	if r.StatusCode != http.StatusAccepted || job == "" || r.Header.Get("Location") != "/tokens/analysis-result/"+job {
		g.t.Fatalf("%s: %s", r.Status, r.text)
	}
	if got := r.Header.Get("Idempotency-Replayed"); got != map[bool]string{true: "true"}[replayed] {
		g.t.Errorf("Idempotency-Replayed is %q", got)
	}
	return job
}

// checkOnly checks that the stream of jobs has exactly one event, the event `received` of the job,
// and that staging has exactly the bytes of content.
func (g *env) checkOnly(job string, content []byte) {
	g.t.Helper()
	if letters := g.kit.Messages(event.Jobs()); len(letters) != 1 || letters[0].Subject != "audio.jobs."+job+".received" {
		g.t.Errorf("the log holds %d events", len(letters))
	}
	received := g.received(job)
	if !bytes.Equal(g.staged(received), content) {
		g.t.Error("staged is something else")
	}
	entries, err := g.staging.Entries(g.kit.Context())
	if want := map[string]int{received.Staged().Entry: received.Chunks}; err != nil || !maps.Equal(entries, want) {
		g.t.Errorf("staged are %v, want %v, %v", entries, want, err)
	}
}

func (g *env) sql(query string, args ...any) {
	g.t.Helper()
	if _, err := testdb.Open(g.kit, "catalogue").ExecContext(g.kit.Context(), query, args...); err != nil {
		g.t.Fatal(err)
	}
}

// awaitCondition waits until a condition in SQL, the parameter question, is true.
func (g *env) awaitCondition(question string) {
	g.t.Helper()
	db, ctx := testdb.Open(g.kit, "catalogue"), g.kit.Context()
	testkit.Eventually(g.t, func() error {
		var yes bool
		if err := db.GetContext(ctx, &yes, `SELECT `+question); err != nil {
			return err
		}
		if !yes {
			return fmt.Errorf("not %s", question)
		}
		return nil
	})
}

// SQL conditions for holds, in a test that uses one idempotency key.
const (
	noKey   = `NOT EXISTS (SELECT FROM catalogue.upload_keys)`
	running = `EXISTS (SELECT FROM catalogue.upload_keys WHERE sha256 IS NULL AND lease_until > now())`
	lapsed  = `EXISTS (SELECT FROM catalogue.upload_keys WHERE sha256 IS NULL AND lease_until <= now())`
)

// begun is an upload of which a part has been sent.
type begun struct {
	*wire
	rest []byte
}

// begin sends the first 300 KiB of an upload, and waits until its key is claimed and a chunk is
// staged.
func (g *env) begin(key string, content []byte) begun {
	g.t.Helper()
	entries := func() int {
		found, err := g.staging.Entries(g.kit.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		return len(found)
	}
	before := entries()
	body, contentType := form(part{name: "file", file: "a.wav", content: content})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), key, contentType, len(body), body[:300<<10])
	testkit.Eventually(g.t, func() error {
		if n := entries(); n != before+1 {
			return fmt.Errorf("%d entries are staged, %d were", n, before)
		}
		return nil
	})
	g.awaitCondition(running)
	return begun{wire: w, rest: body[300<<10:]}
}

func (b begun) finish() reply {
	b.t.Helper()
	b.send("%s", b.rest)
	return b.answer()
}

func TestAReplayNamesTheSameJobAndStoresNothing(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 100, "large": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, nil)
			other, content := g.startReplica(nil), wav(size)
			sum := sha256.Sum256(content)
			digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
			first := g.uploadWithKey("k-1", content)
			job := g.checkAccepted(first, false)
			for range 2 {
				for _, r := range []reply{
					g.uploadWithKey("k-1", content), other.uploadWithKey(`"k-1"`, content),
					other.upload(map[string]string{"Idempotency-Key": "k-1", "Content-Digest": digest}, part{name: "file", file: "b.wav", content: content}),
				} {
					g.checkAccepted(r, true)
					if !bytes.Equal(r.text, first.text) {
						t.Errorf("answered %s, then %s", first.text, r.text)
					}
				}
			}
			wrong := "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"
			g.problem(g.upload(map[string]string{"Idempotency-Key": "k-1", "Content-Digest": wrong}, part{name: "file", content: content}), 422, "digest-mismatch")
			g.checkOnly(job, content)
		})
	}
}

func TestAnUploadWithoutAKeyClaimsAndReplaysNothing(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	file := part{name: "file", file: "a.wav", content: wav(100)}
	if a, b := g.checkAccepted(g.upload(nil, file), false), g.checkAccepted(g.upload(nil, file), false); a == b {
		t.Error("two uploads are one job")
	}
	g.awaitCondition(noKey)
}

func TestAKeyBelongsToOneRecordingAndOneToken(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	content := wav(600 << 10)
	job := g.checkAccepted(g.uploadWithKey("k", content), false)
	changed := bytes.Clone(content)
	changed[len(changed)-1]++
	for _, other := range [][]byte{changed, content[:len(content)-1], wav(100)} {
		g.problem(g.uploadWithKey("k", other), 422, "idempotency-key-reused")
	}
	elsewhere := *g
	elsewhere.token = int64(g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)["id"].(float64))
	g.problem(elsewhere.uploadWithKey("k", content), 422, "idempotency-key-reused")
	// The gateway must respond although the client has sent only a part of the body.
	body, contentType := form(part{name: "file", file: "a.wav", content: content})
	w := elsewhere.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", elsewhere.path(), contentType, len(body), body[:100<<10])
	g.problem(w.answer(), 422, "idempotency-key-reused")
	if again := g.checkAccepted(g.uploadWithKey("k", content), true); again != job {
		t.Errorf("job %s became %s", job, again)
	}
	g.checkOnly(job, content)
}

func TestAMalformedKeyIsRefusedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for _, key := range []string{"", `""`, `"a`, strings.Repeat("x", 256)} {
		g.problem(g.uploadWithKey(key, wav(100)), 422, "malformed-idempotency-key")
	}
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(100)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: a\r\nidempotency-key: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body)
	g.problem(w.answer(), 422, "malformed-idempotency-key")
	g.awaitCondition(noKey)
	g.assertNothingStored()
}

func TestConcurrentUploadsWithOneKeyBecomeOneJob(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	replicas, content := []*env{g, g.startReplica(nil)}, wav(600<<10)
	var mu sync.Mutex
	jobs, firsts := map[string]int{}, 0
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			body, contentType := form(part{name: "file", file: "a.wav", content: content})
			r, err := replicas[i%2].try(g.kit.Context(), "POST", g.path(), bytes.NewReader(body), map[string]string{"Content-Type": contentType, "Idempotency-Key": "k"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case r.StatusCode == http.StatusAccepted:
				jobs[r.Header.Get("Location")]++
				if r.Header.Get("Idempotency-Replayed") == "" {
					firsts++
				}
			case r.StatusCode != http.StatusConflict || r.Header.Get("Retry-After") == "" || !bytes.Contains(r.text, []byte(`"idempotency-key-in-use"`)):
				t.Errorf("%s: %s", r.Status, r.text)
			}
		})
	}
	wg.Wait()
	if len(jobs) != 1 || firsts != 1 {
		t.Errorf("%d of the answers are firsts, jobs are %v", firsts, jobs)
	}
	job := g.checkAccepted(replicas[1].uploadWithKey("k", content), true)
	g.checkOnly(job, content)
}

func TestAKeyIsInUseWhileItsUploadRuns(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	other, content := g.startReplica(nil), wav(600<<10)
	b := g.begin("k", content)
	for _, copied := range []*env{g, other} {
		r := copied.uploadWithKey("k", content)
		g.problem(r, 409, "idempotency-key-in-use")
		if r.Header.Get("Retry-After") == "" {
			t.Error("409 without Retry-After")
		}
	}
	elsewhere := *other
	elsewhere.token = int64(g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)["id"].(float64))
	g.problem(elsewhere.uploadWithKey("k", content), 422, "idempotency-key-reused")
	job := g.checkAccepted(b.finish(), false)
	if again := g.checkAccepted(other.uploadWithKey("k", content), true); again != job {
		t.Errorf("job %s became %s", job, again)
	}
	b.alive()
	g.checkOnly(job, content)
}

func TestAnUploadThatFailsFreesItsKey(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"MAX_UPLOAD_BYTES": "700000"})
	content := wav(600 << 10)
	b := g.begin("k", content)
	_ = b.Close()
	g.awaitCondition(noKey)
	file := part{name: "file", file: "a.wav", content: content}
	key := map[string]string{"Idempotency-Key": "k"}
	for code, r := range map[string]reply{
		"file-ambiguous":  g.upload(key, file, part{name: "file", file: "b.wav", content: wav(10)}),
		"digest-mismatch": g.upload(map[string]string{"Idempotency-Key": "k", "Content-Digest": "sha-256=:" + strings.Repeat("A", 43) + "=:"}, file),
		"empty-file":      g.upload(key, part{name: "file", file: "a.wav"}),
	} {
		g.problem(r, 422, code)
		g.awaitCondition(noKey)
	}
	g.problem(g.upload(key, part{name: "file", file: "a.wav", content: wav(700001)}), 413, "too-large")
	g.problem(g.upload(key, part{name: "file", file: "a.wav", content: []byte("no sound at all")}), 415, "unsupported-audio")
	g.awaitCondition(noKey)
	g.assertNothingStored()
	// A failed upload frees the key, so that another upload can use it.
	g.token = int64(g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)["id"].(float64))
	job := g.checkAccepted(g.uploadWithKey("k", wav(500)), false)
	g.checkOnly(job, wav(500))
}

func TestAFullBusFreesTheKey(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]map[string]string{
		"the log": {"JOBS_MAX_BYTES": "100"}, "staging": {"STAGING_MAX_BYTES": "100000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, settings)
			g.problem(g.uploadWithKey("k", wav(600<<10)), 503, "bus-full")
			g.awaitCondition(noKey)
			g.assertNothingStored()
		})
	}
}

func TestAKeyExpires(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	first := g.checkAccepted(g.uploadWithKey("k", wav(100)), false)
	g.awaitCondition(`EXISTS (SELECT FROM catalogue.upload_keys WHERE expires_at - created_at BETWEEN interval '24 hours' AND interval '25 hours')`)
	g.sql(`UPDATE catalogue.upload_keys SET expires_at = now() + interval '1 minute'`)
	g.problem(g.uploadWithKey("k", wav(200)), 422, "idempotency-key-reused")
	g.sql(`UPDATE catalogue.upload_keys SET expires_at = now()`)
	if second := g.checkAccepted(g.uploadWithKey("k", wav(200)), false); second == first {
		t.Error("it is the old job")
	}
}

func TestExpiredKeysAreSweptAtStart(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	g.checkAccepted(g.uploadWithKey("k", wav(100)), false)
	g.sql(`UPDATE catalogue.upload_keys SET expires_at = now()`)
	g.startReplica(nil)
	g.awaitCondition(noKey)
}

func TestAKeyOutlivesARestart(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	job := g.checkAccepted(g.uploadWithKey("k", wav(100)), false)
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	if again := g.startReplica(nil); again.checkAccepted(again.uploadWithKey("k", wav(100)), true) != job {
		t.Error("it is another job")
	}
	g.checkOnly(job, wav(100))
}
