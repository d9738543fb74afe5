package app_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

// usages is a stub of the tracker. It returns the usage that a test sets. Tests with a real tracker
// are in infra/e2e.
type usages struct {
	mu     sync.Mutex
	stored map[string]int64 // number of stored bytes by owner
	hang   bool             // the stub does not answer
	env    *env             // verifies the principal
	asked  []string         // owners
	gone   bool             // the route does not exist, as in an earlier release
}

func (u *usages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, err := u.env.verified(r.Header)
	u.mu.Lock()
	u.asked = append(u.asked, p.Owner)
	hang, gone, stored := u.hang, u.gone, u.stored[p.Owner]
	u.mu.Unlock()
	switch {
	case hang:
		<-r.Context().Done()
	case gone || r.URL.Path != "/internal/usage":
		w.WriteHeader(http.StatusNotFound)
	case err != nil || !p.May(principal.JobsRead):
		w.WriteHeader(http.StatusForbidden)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jobs":1,"staged_bytes":0,"stored_bytes":%d,"log_bytes":5,"recorded":[]}`, stored)
	}
}

func (u *usages) set(change func(*usages)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(u)
}

// limitedTo starts a gateway that authenticates requests and has one token. The returned stub is
// its tracker.
func limitedTo(t *testing.T, changes map[string]string) (*env, *usages) {
	t.Helper()
	u := &usages{stored: map[string]int64{}}
	g := secured(t, u.ServeHTTP, changes)
	u.env = g
	made := g.do("POST", "/tokens/", strings.NewReader(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`), as(adminToken(t)))
	g.token = int64(made.json(t)["id"].(float64))
	return g, u
}

// uploadAs uploads a recording of n bytes with a credential.
func (g *env) uploadAs(credential string, n int, header map[string]string) reply {
	g.t.Helper()
	h := map[string]string{"Authorization": "Bearer " + credential}
	for k, v := range header {
		h[k] = v
	}
	return g.upload(h, part{name: "file", file: "a.wav", content: wav(n)})
}

// checkOverBudget checks that an upload is refused because it would exceed the named budget.
func (g *env) checkOverBudget(r reply, budget string) {
	g.t.Helper()
	m := g.problem(r, http.StatusTooManyRequests, "quota-exceeded")
	if m["budget"] != budget || m["limit_bytes"] == nil || m["used_bytes"] == nil {
		g.t.Errorf("%s", r.text)
	}
	if waits := r.Header.Get("Retry-After") != ""; waits != (budget != "stored_bytes") {
		g.t.Errorf("%s: Retry-After is %q", budget, r.Header.Get("Retry-After"))
	}
}

func TestAnUploadBeyondABudgetIsRefusedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	g, u := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "10000"})
	u.set(func(u *usages) { u.stored["alice"], u.stored["root"] = 9500, 10_000 })
	alice := token(t, "alice", nil)
	r := g.uploadAs(alice, 1000, map[string]string{"Accept-Language": "ko"})
	g.checkOverBudget(r, "stored_bytes")
	if m := r.json(t); m["used_bytes"] != 9500.0 || m["limit_bytes"] != 10000.0 || !strings.Contains(m["detail"].(string), "삭제한 뒤") {
		t.Errorf("%s", r.text)
	}
	g.checkOverBudget(g.uploadAs(adminToken(t), 1000, nil), "stored_bytes") // the budget applies to an admin too
	g.assertNothingStored()
	g.checkAccepted(g.uploadAs(token(t, "bob", nil), 1000, nil), false)
	key, _ := g.keyWith(principal.JobsWrite) // a key of alice that may not read jobs: the budget applies to it too
	g.checkOverBudget(g.upload(map[string]string{"X-Api-Key": key}, part{name: "file", file: "a.wav", content: wav(1000)}), "stored_bytes")
	u.set(func(u *usages) { u.stored["alice"] = 0 })
	g.checkAccepted(g.upload(map[string]string{"X-Api-Key": key}, part{name: "file", file: "a.wav", content: wav(1000)}), false)
}

// beginner begins uploads whose bytes do not go through the gateway's staging.
type beginner struct {
	*env
	named     string // Upload-Metadata with the token
	described string // path with the token, for the draft
}

// newBeginner starts a gateway without an uploader, for a budget of 10 000 stored bytes, of which alice
// uses 9500 and carol all.
func newBeginner(t *testing.T) beginner {
	t.Helper()
	g, u := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "10000", "UPLOADER_URL": "http://127.0.0.1:1"})
	u.set(func(u *usages) { u.stored["alice"], u.stored["carol"] = 9500, 10_000 })
	return beginner{
		env: g, named: "token_id " + base64.StdEncoding.EncodeToString(fmt.Append(nil, g.token)),
		described: fmt.Sprintf("/uploads?token_id=%d", g.token),
	}
}

func (b beginner) begin(owner, path, bytes string, header map[string]string) reply {
	b.t.Helper()
	all := as(token(b.t, owner, nil))
	maps.Copy(all, header)
	return b.do("POST", path, strings.NewReader(bytes), all)
}

// The length of these uploads was not compared with the budget, and partial uploads were accepted even
// if the budget was used up.
func TestAResumableUploadBeyondABudgetIsRefusedByItsLength(t *testing.T) {
	t.Parallel()
	b := newBeginner(t)
	for name, r := range map[string]func(owner string, n int) reply{
		"tus": func(owner string, n int) reply {
			return b.begin(owner, "/uploads", "", map[string]string{"Tus-Resumable": "1.0.0", "Upload-Length": fmt.Sprint(n), "Upload-Metadata": b.named})
		},
		"tus, partial": func(owner string, n int) reply {
			return b.begin(owner, "/uploads", "", map[string]string{"Tus-Resumable": "1.0.0", "Upload-Length": fmt.Sprint(n), "Upload-Concat": "partial"})
		},
		"the draft": func(owner string, n int) reply {
			return b.begin(owner, b.described, "", map[string]string{"Upload-Draft-Interop-Version": "6", "Upload-Length": fmt.Sprint(n)})
		},
		"the draft, with all bytes": func(owner string, n int) reply {
			return b.begin(owner, b.described, string(wav(n)), map[string]string{"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1"})
		},
	} {
		b.checkOverBudget(r("alice", 1000), "stored_bytes")
		b.checkOverBudget(r("carol", 1000), "stored_bytes")
		if got := r("alice", 400); got.StatusCode != http.StatusServiceUnavailable { // admitted; there is no uploader
			t.Errorf("%s, within the budget: %s %s", name, got.Status, got.text)
		}
	}
}

func TestAnUploadOfUnknownLengthIsAdmittedUnlessTheBudgetIsUsedUp(t *testing.T) {
	t.Parallel()
	b := newBeginner(t)
	check := func(owner string, admitted bool) {
		for name, r := range map[string]reply{
			"deferred": b.begin(owner, "/uploads", "", map[string]string{"Tus-Resumable": "1.0.0", "Upload-Defer-Length": "1", "Upload-Metadata": b.named}),
			"partial":  b.begin(owner, "/uploads", "", map[string]string{"Tus-Resumable": "1.0.0", "Upload-Defer-Length": "1", "Upload-Concat": "partial"}),
			"form":     b.do("GET", fmt.Sprintf("/s3/params?metadata[token_id]=%d", b.token), nil, as(token(t, owner, nil))),
		} {
			if (r.StatusCode == http.StatusServiceUnavailable) != admitted {
				t.Errorf("%s of %s: %s %s", name, owner, r.Status, r.text)
			}
		}
	}
	check("alice", true)
	check("carol", false)
}

// A resumable upload may be larger than all of staging, which it does not use.
func TestAResumableUploadNeedsNoBudgetOfStagedBytes(t *testing.T) {
	t.Parallel()
	g, _ := limitedTo(t, map[string]string{"PRINCIPAL_STAGED_BYTES": "200000000", "PRINCIPAL_STORED_BYTES": "10000000000", "UPLOADER_URL": "http://127.0.0.1:1"})
	header := as(token(t, "alice", nil))
	maps.Copy(header, map[string]string{"Upload-Draft-Interop-Version": "6", "Upload-Length": "5000000000"})
	if r := g.do("POST", fmt.Sprintf("/uploads?token_id=%d", g.token), nil, header); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s %s", r.Status, r.text)
	}
	header["Upload-Length"] = "9223372036854775807"
	g.checkOverBudget(g.do("POST", fmt.Sprintf("/uploads?token_id=%d", g.token), nil, header), "stored_bytes")
}

func TestABudgetIsCheckedBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	g, u := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "10000000"})
	u.set(func(u *usages) { u.stored["alice"] = 9_000_000 })
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(2_000_000)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nIdempotency-Key: k\r\n\r\n%s",
		g.path(), token(t, "alice", nil), contentType, len(body), body[:20_000])
	g.checkOverBudget(w.answer(), "stored_bytes") // the answer arrives before the rest of the body is sent
	g.assertNothingStored()
	u.set(func(u *usages) { u.stored["alice"] = 0 }) // the refused upload has freed its idempotency key
	g.checkAccepted(g.uploadAs(token(t, "alice", nil), 1000, map[string]string{"Idempotency-Key": "k"}), false)
}

// The tracker has recorded none of the uploads, so the replica alone counts them.
func TestUploadsAtOnceDoNotExceedABudget(t *testing.T) {
	t.Parallel()
	const size, limit, atOnce = 20_000, 210_000, 30
	g, _ := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": fmt.Sprint(limit), "MAX_UPLOADS_PER_PRINCIPAL": "0"})
	alice := token(t, "alice", nil)
	answers := make([]reply, atOnce)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			header := map[string]string{}
			if i%2 == 0 {
				header["Idempotency-Key"] = fmt.Sprint("key ", i)
			}
			answers[i] = g.uploadAs(alice, size, header)
		})
	}
	wg.Wait()
	accepted := 0
	for _, r := range answers {
		if r.StatusCode == http.StatusAccepted {
			accepted++
			continue
		}
		g.checkOverBudget(r, "stored_bytes")
	}
	if accepted != limit/size {
		t.Errorf("%d uploads are accepted, not %d", accepted, limit/size)
	}
	if entries, err := g.staging.Entries(g.kit.Context()); err != nil || len(entries) != accepted {
		t.Errorf("%d entries are staged, %v", len(entries), err)
	}
	g.checkAccepted(g.uploadAs(token(t, "bob", nil), size, nil), false)
}

func TestARepetitionOfAnAcceptedUploadNeedsNoBudget(t *testing.T) {
	t.Parallel()
	g, _ := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "2000"})
	alice, header := token(t, "alice", nil), map[string]string{"Idempotency-Key": "k"}
	job := g.checkAccepted(g.uploadAs(alice, 1000, header), false)
	g.checkOverBudget(g.uploadAs(alice, 1000, nil), "stored_bytes")
	if again := g.checkAccepted(g.uploadAs(alice, 1000, header), true); again != job {
		t.Errorf("job %s became %s", job, again)
	}
}

func TestAnUploadOfUnknownLengthBeyondABudgetLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g, u := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "10000"})
	u.set(func(u *usages) { u.stored["alice"] = 5000 })
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(6000)})
	chunked := func() reply {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
			g.path(), token(t, "alice", nil), contentType, len(body), body)
		return w.answer()
	}
	g.checkOverBudget(chunked(), "stored_bytes")
	g.assertNothingStored()
	u.set(func(u *usages) { u.stored["alice"] = 0 })
	g.checkAccepted(chunked(), false)
}

func TestStagedBytesAndTheLogHaveBudgets(t *testing.T) {
	t.Parallel()
	g, _ := limitedTo(t, map[string]string{"MAX_UPLOAD_BYTES": "1000", "PRINCIPAL_STAGED_BYTES": "132072"})
	alice := token(t, "alice", nil)
	var last reply
	for range 200 {
		if last = g.uploadAs(alice, 1000, nil); last.StatusCode != http.StatusAccepted {
			break
		}
	}
	g.checkOverBudget(last, "staged_bytes")

	g, _ = limitedTo(t, map[string]string{"PRINCIPAL_LOG_BYTES": "9000"})
	for range 2 { // each job counts as 4 KiB of events, and the tracker reports 5 bytes more
		g.checkAccepted(g.uploadAs(alice, 1000, nil), false)
	}
	g.checkOverBudget(g.uploadAs(alice, 1000, nil), "log_bytes")
}

func TestATrackerThatIsAwayBlocksNoUpload(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*usages){
		"hanging":               func(u *usages) { u.hang = true },
		"of an earlier release": func(u *usages) { u.gone = true },
	} {
		g, u := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "1000"})
		u.set(func(u *usages) { u.stored["alice"] = 1000 })
		u.set(broken)
		g.checkAccepted(g.uploadAs(token(t, "alice", nil), 1000, nil), false)
		if n := g.gauge("sori_usage_unknown_total"); n != 1 {
			t.Errorf("%s: %v uploads are counted", name, n)
		}
		u.set(func(u *usages) { u.hang, u.gone = false, false })
		testkit.Eventually(t, func() error { // the gateway requests the usage again two seconds later
			if r := g.uploadAs(token(t, "alice", nil), 1000, nil); r.StatusCode != http.StatusTooManyRequests {
				return fmt.Errorf("%s: %s", name, r.Status)
			}
			return nil
		})
	}
	g := secured(t, nil, map[string]string{"PRINCIPAL_STORED_BYTES": "1"}) // no tracker runs
	made := g.do("POST", "/tokens/", strings.NewReader(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`), as(adminToken(t)))
	g.token = int64(made.json(t)["id"].(float64))
	g.checkAccepted(g.uploadAs(token(t, "alice", nil), 1000, nil), false)
}

func TestRequestsThatAreNotAuthenticatedHaveNoBudget(t *testing.T) {
	t.Parallel()
	var s seen
	g, _ := startWithUpstream(t, map[string]string{"PRINCIPAL_STORED_BYTES": "1"}, func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		_, _ = fmt.Fprint(w, `{"jobs":0,"staged_bytes":0,"stored_bytes":0,"log_bytes":0,"recorded":[]}`)
	})
	g.checkAccepted(g.upload(nil, part{name: "file", file: "a.wav", content: wav(1000)}), false)
	if s.count() != 0 {
		t.Error("the tracker was asked")
	}
	const want = `{"jobs":0,"staged_bytes":{"used":0,"limit":null},"stored_bytes":{"used":0,"limit":null},"log_bytes":{"used":0,"limit":null}}`
	if r := g.get("/usage"); string(r.text) != want {
		t.Errorf("%s", r.text)
	}
}

func TestAnOwnerReadsItsUsageAndItsLimits(t *testing.T) {
	t.Parallel()
	g, u := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "10000", "STAGING_MAX_BYTES": "1000000000", "PRINCIPAL_LOG_BYTES": "0"})
	u.set(func(u *usages) { u.stored["alice"] = 7 })
	r := g.do("GET", "/usage", nil, as(token(t, "alice", nil)))
	const want = `{"jobs":1,"staged_bytes":{"used":0,"limit":500000000},"stored_bytes":{"used":7,"limit":10000},"log_bytes":{"used":5,"limit":null}}`
	if r.StatusCode != http.StatusOK || string(r.text) != want || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v %s", r.Status, r.Header, r.text)
	}
	g.problem(g.do("GET", "/internal/usage", nil, as(token(t, "alice", nil))), http.StatusNotFound, "route-not-found")
	u.set(func(u *usages) { u.gone = true })
	g.problem(g.do("GET", "/usage", nil, as(token(t, "alice", nil))), http.StatusServiceUnavailable, "unavailable")
}

// The outcome of an append may be unknown to the gateway. Then the bytes of the upload stay
// reserved. If the event is certainly not stored, as here, the bytes are released.
func TestAnUploadThatTheLogRefusesReleasesItsBytes(t *testing.T) {
	t.Parallel()
	g, _ := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "2500", "JOBS_MAX_BYTES": "40000", "UPLOAD_RESERVE": "0", "PRINCIPAL_LOG_BYTES": "0"})
	alice := token(t, "alice", nil)
	job := g.checkAccepted(g.uploadAs(alice, 1000, nil), false)
	g.fill(job, 0.985)
	for range 3 { // each upload is refused because of the log, not because of a budget
		if r := g.uploadAs(alice, 1000, nil); r.StatusCode == http.StatusAccepted || r.json(t)["code"] != "bus-full" {
			t.Fatalf("%s %s", r.Status, r.text)
		}
	}
	stream, err := g.kit.JetStream().Stream(g.kit.Context(), g.kit.Namespace().Stream(event.Jobs().Name))
	if err == nil {
		err = stream.Purge(g.kit.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, func() error {
		if r := g.uploadAs(alice, 1000, nil); r.StatusCode != http.StatusAccepted {
			return fmt.Errorf("%s %s", r.Status, r.text)
		}
		return nil
	})
}
