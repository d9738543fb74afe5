package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

func user(owner string) principal.Principal {
	return principal.Principal{Owner: owner, Scopes: principal.UserScopes()}
}

func admin() principal.Principal {
	return principal.Principal{Owner: "root", Scopes: []principal.Scope{principal.Admin}}
}

// route is a request about a job.
type route struct {
	method, path string // {id} is the job's id
	header       map[string]string
}

func (r route) name() string { return fmt.Sprint(r.method, " ", r.path, " ", r.header) }

// reads returns all ways to read a job, and writes all ways to change it.
func reads() []route {
	return []route{
		{http.MethodGet, "/tokens/analysis-result/{id}", nil},
		{http.MethodGet, "/tokens/analysis-result/{id}?wait=1", nil},
		{http.MethodGet, "/tokens/analysis-result/{id}", map[string]string{"If-None-Match": "*", "Prefer": "wait=1"}},
		{http.MethodGet, "/tokens/analysis-progress/{id}", nil},
		{http.MethodGet, "/tokens/analysis-progress/{id}?last_event_id=99", nil},
		{http.MethodGet, "/jobs/{id}/audio", nil},
		{http.MethodGet, "/jobs/{id}/audio?download=1", nil},
		{http.MethodHead, "/tokens/analysis-result/{id}", nil},
		{http.MethodHead, "/tokens/analysis-progress/{id}", nil},
		{http.MethodHead, "/jobs/{id}/audio", nil},
		{http.MethodPost, "/jobs/{id}/ticket", nil},
	}
}

func writes() []route {
	return []route{
		{http.MethodPost, "/jobs/{id}/cancel", nil},
		{http.MethodPost, "/jobs/{id}/retry", nil},
		{http.MethodPost, "/jobs/{id}/retry?force=true", nil},
		{http.MethodDelete, "/jobs/{id}", nil},
	}
}

// ask makes a request about a job with the headers as.
func (c *env) ask(r route, id string, as map[string]string) answer {
	c.t.Helper()
	header := maps.Clone(as)
	maps.Copy(header, r.header)
	ctx, url := c.Context(), c.url+strings.ReplaceAll(r.path, "{id}", id)
	if r.method == http.MethodGet && strings.Contains(r.path, "analysis-progress") {
		resp := c.send(ctx, r.method, url, header)
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK { // a stream, which continues
			return answer{status: resp.StatusCode, header: resp.Header}
		}
	}
	return c.request(r.method, url, header)
}

// tells returns all parts of an answer that may reveal something about a job, with the job's id
// replaced.
func (a answer) tells(id string) string {
	header := a.header.Clone()
	header.Del("Date")
	header.Del("X-Request-Id")
	var body map[string]any
	_ = json.Unmarshal([]byte(a.raw), &body) // which the document checks
	delete(body, "request_id")
	header.Del("Content-Length")
	text, _ := json.Marshal(body)
	return strings.ReplaceAll(fmt.Sprint(a.status, header, string(text)), id, "ID")
}

// states returns functions that prepare a job of alice in each state, except the state accepted and
// not recorded.
func states() map[string]func(*testJob) {
	return map[string]func(*testJob){
		"running": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.attempted(1)
			j.dispatched(1)
			j.until("processing", 90)
		},
		"completed": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.attempted(1)
			j.completed(`{"secret":true}`)
			j.until("completed", 100)
		},
		"failed": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.failed()
			j.until("failed", 70)
		},
		"canceled": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.publish(event.Canceled{JobID: j.id})
			j.until("canceled", 70)
		},
		"erased": func(j *testJob) {
			j.receivedOf("alice")
			j.until("processing", 10)
			j.erase(http.StatusOK, "deleted")
			j.forget()
		},
		"expired": func(j *testJob) { // its log
			j.receivedOf("alice")
			j.storedInBucket()
			j.failed()
			j.until("failed", 70)
			j.forgetAll()
		},
	}
}

func (l *testJob) receivedOf(owner string) {
	l.publish(event.Received{JobID: l.id, TokenID: 7, Owner: owner, FileName: "a.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Chunks: 1})
}

// storedInBucket appends stored, with a bucket whose links can be signed.
func (l *testJob) storedInBucket() {
	l.publish(event.Stored{JobID: l.id, TokenID: 7, Bucket: "bucket", Key: "audio/k.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Duration: 2})
}

// forgetAll removes the log of a job, as if it had expired.
func (l *testJob) forgetAll() {
	l.t.Helper()
	log, err := l.jobs.Read(l.Context(), l.id)
	if err == nil {
		err = l.jobs.Purge(l.Context(), l.id, log.Seq()+1)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// unrecorded blocks the writing of records, so that jobs are accepted and not recorded yet.
func (c *env) unrecorded() {
	c.t.Helper()
	lock, err := c.db().BeginTxx(c.Context(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = lock.Rollback() })
	if _, err := lock.ExecContext(c.Context(), `LOCK TABLE tracker.analysis_results IN SHARE MODE`); err != nil {
		c.t.Fatal(err)
	}
}

// checkHidden checks that a principal that may not know of a job gets the same answer as if the job
// did not exist, and that the job does not change.
func checkHidden(t *testing.T, j *testJob, state string) {
	t.Helper()
	none := j.job()
	before := j.EventNames(j.bus, j.id)
	for _, r := range slices.Concat(reads(), writes()) {
		strangers := map[string]map[string]string{
			"another user": j.as(user("bob")), "a user without an owner": j.as(user("")), "a user of a similar name": j.as(user("Alice")),
			"a key of another": j.as(principal.Principal{Owner: "bob", Scopes: principal.UserScopes(), KeyID: "alice"}),
		}
		for name, as := range strangers {
			got, want := j.ask(r, j.id, as), j.ask(r, none.id, as)
			if got.status != http.StatusNotFound || r.method != http.MethodHead && got.body.Code != "job-not-found" || got.tells(j.id) != want.tells(none.id) {
				t.Errorf("%s job, %s, %s:\n got %s\nwant %s", state, r.name(), name, got.tells(j.id), want.tells(none.id))
			}
		}
		got, want := j.ask(r, j.id, nobody()), j.ask(r, none.id, nobody())
		if got.status != http.StatusUnauthorized || r.method != http.MethodHead && got.body.Code != "unauthenticated" ||
			got.header.Get("WWW-Authenticate") == "" || got.tells(j.id) != want.tells(none.id) {
			t.Errorf("%s job, %s, nobody: %s", state, r.name(), got.tells(j.id))
		}
		for _, of := range []string{j.id, none.id} { // its owner, with a key that has other scopes
			key := principal.Principal{Owner: "alice", KeyID: "k", Scopes: []principal.Scope{principal.JobsWrite, principal.CatalogueRead, principal.CatalogueWrite}}
			if slices.ContainsFunc(writes(), func(w route) bool { return w.path == r.path }) {
				key.Scopes[0] = principal.JobsRead
			}
			if a := j.ask(r, of, j.as(key)); a.status != http.StatusForbidden || r.method != http.MethodHead && a.body.Code != "insufficient-scope" {
				t.Errorf("%s job, %s, without the scope: %d %s", state, r.name(), a.status, a.raw)
			}
		}
	}
	for name, as := range map[string]principal.Principal{"another user": user("bob"), "a user without an owner": user("")} {
		for _, query := range []string{"", "?owner=alice", "?token_id=7", "?owner=alice&token_id=7&status=processing,failed"} {
			if a := j.get(j.url+"/jobs/"+query, j.as(as)); a.status != http.StatusOK || strings.Contains(a.raw, j.id) {
				t.Errorf("%s job, the list%s of %s: %d %s", state, query, name, a.status, a.raw)
			}
		}
	}
	if after := j.EventNames(j.bus, j.id); !slices.Equal(after, before) {
		t.Errorf("%s job: strangers turned its log %v into %v", state, before, after)
	}
}

// A job of another owner is answered as a job that does not exist, whatever its state, in body and
// header, for every route, and whatever else the request contains.
func TestAnothersJobIsNotFoundInEveryStateAndOnEveryRoute(t *testing.T) {
	t.Parallel()
	for state, prepare := range states() {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			j := open(t, nil).job()
			prepare(j)
			checkHidden(t, j, state)
		})
	}
	t.Run("accepted", func(t *testing.T) {
		t.Parallel()
		c := open(t, nil)
		c.unrecorded()
		j := c.job()
		j.receivedOf("alice")
		checkHidden(t, j, "accepted")
	})
	t.Run("without an owner", func(t *testing.T) {
		t.Parallel()
		j := open(t, nil).job()
		j.received()
		j.until("processing", 10)
		checkHidden(t, j, "ownerless")
	})
}

func TestTheOwnerAndAnAdminAreAnsweredByTheStateOfTheJob(t *testing.T) {
	t.Parallel()
	all := states()
	all["accepted"] = func(j *testJob) {
		j.unrecorded()
		j.receivedOf("alice")
	}
	want := map[string]map[string]int{ // by route; routes that are not listed have the status under "reads"
		"accepted":  {"reads": 200, "audio": 404, "ticket": 201, "cancel": 202, "retry": 409, "retry?force=true": 409, "delete": 200},
		"running":   {"reads": 200, "audio": 307, "ticket": 201, "cancel": 202, "retry": 409, "retry?force=true": 409, "delete": 200},
		"completed": {"reads": 200, "audio": 307, "ticket": 201, "cancel": 409, "retry": 409, "retry?force=true": 409, "delete": 200},
		"failed":    {"reads": 200, "audio": 307, "ticket": 201, "cancel": 409, "retry": 202, "retry?force=true": 202, "delete": 200},
		"canceled":  {"reads": 200, "audio": 307, "ticket": 201, "cancel": 202, "retry": 409, "retry?force=true": 409, "delete": 200},
		"expired":   {"reads": 200, "audio": 307, "ticket": 201, "cancel": 409, "retry": 409, "retry?force=true": 409, "delete": 200},
		"erased":    {"reads": 410, "audio": 410, "ticket": 410, "cancel": 410, "retry": 410, "retry?force=true": 410, "delete": 410},
	}
	for state, prepare := range all {
		for name, p := range map[string]principal.Principal{
			"the owner": user("alice"), "an API key of the owner": {Owner: "alice", KeyID: "k1", Scopes: principal.UserScopes()}, "an admin": admin(),
		} {
			t.Run(state+", "+name, func(t *testing.T) {
				t.Parallel()
				j := open(t, nil).job()
				prepare(j)
				for _, r := range slices.Concat(reads(), writes()[:1], writes()[3:]) {
					key := "reads"
					for _, part := range []string{"audio", "ticket", "cancel"} {
						if strings.Contains(r.path, "/"+part) {
							key = part
						}
					}
					if r.method == http.MethodDelete {
						key = "delete"
					}
					a := j.ask(r, j.id, j.as(p))
					expected := want[state][key]
					switch { // conditional requests
					case r.header["If-None-Match"] != "" && expected == http.StatusOK:
						expected = http.StatusNotModified
					case strings.Contains(r.path, "last_event_id") && expected == http.StatusOK && a.status == http.StatusNoContent:
						expected = http.StatusNoContent
					}
					if a.status != expected {
						t.Errorf("%s: %d %s, want %d", r.name(), a.status, a.raw, expected)
					}
				}
			})
			t.Run(state+", "+name+", retried", func(t *testing.T) {
				t.Parallel()
				j := open(t, nil).job()
				prepare(j)
				if a := j.ask(writes()[1], j.id, j.as(p)); a.status != want[state]["retry"] {
					t.Errorf("%d %s", a.status, a.raw)
				}
			})
		}
	}
}

func TestALogSaysWhoCanceledRetriedAndErasedAJob(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	key := principal.Principal{Owner: "alice", KeyID: "k1", Scopes: principal.UserScopes()}
	j := c.job()
	states()["failed"](j)
	steps := []struct {
		r  route
		as principal.Principal
	}{{writes()[1], user("alice")}, {writes()[0], key}, {writes()[3], admin()}}
	for _, s := range steps {
		if a := j.ask(s.r, j.id, j.as(s.as)); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", s.r.name(), a.status, a.raw)
		}
	}
	log, err := c.jobs.Read(c.Context(), j.id)
	if err != nil {
		t.Fatal(err)
	}
	retried, _ := event.Last[event.Retried](log)
	canceled, _ := event.Last[event.Canceled](log)
	erased, _ := event.Last[event.Erased](log)
	if retried.By != "alice" || canceled.By != "k1" || erased.By != "root" || erased.Owner != "alice" {
		t.Errorf("%+v %+v %+v", retried, canceled, erased)
	}
}

func TestAListHasTheJobsOfItsOwnerAndAnAdminListsAll(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	ids := map[string]string{}
	for _, owner := range []string{"alice", "bob", ""} {
		j := c.job()
		j.receivedOf(owner)
		j.until("processing", 10)
		ids[j.id] = owner
	}
	for _, s := range []struct {
		query string
		as    principal.Principal
		want  []string
	}{
		{"", user("alice"), []string{"alice"}}, {"?owner=alice", user("alice"), []string{"alice"}}, {"?owner=", user("bob"), []string{"bob"}},
		{"?owner=bob", user("alice"), nil}, {"?owner=carol", user("alice"), nil}, {"", user("carol"), nil}, {"", user(""), nil},
		{"?token_id=7", user("alice"), []string{"alice"}}, {"?token_id=8", user("alice"), nil},
		{"", admin(), []string{"", "alice", "bob"}}, {"?owner=bob", admin(), []string{"bob"}}, {"?owner=root", admin(), nil},
		{"?owner=bob&token_id=7&status=processing", admin(), []string{"bob"}}, {"", principal.Open(), []string{"", "alice", "bob"}},
	} {
		a := c.get(c.url+"/jobs/"+s.query, c.as(s.as))
		var told struct {
			Jobs []struct {
				JobID string `json:"job_id"`
				Owner string `json:"owner"`
			} `json:"jobs"`
		}
		if err := json.Unmarshal([]byte(a.raw), &told); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.raw)
		}
		var owners []string
		for _, j := range told.Jobs {
			if owners = append(owners, j.Owner); ids[j.JobID] != j.Owner {
				t.Errorf("job %s is shown as one of %q", j.JobID, j.Owner)
			}
		}
		if slices.Sort(owners); !slices.Equal(owners, s.want) {
			t.Errorf("%s as %+v: the jobs of %q, want %q", s.query, s.as, owners, s.want)
		}
	}
	for _, query := range []string{"owner=%00", "owner=" + strings.Repeat("a", 256), "owner=%ff"} {
		if a := c.get(c.url+"/jobs/?"+query, nil); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.raw, `"owner"`) {
			t.Errorf("%s: %d %s", query, a.status, a.raw)
		}
	}
	if a := c.get(c.url+"/jobs/", nobody()); a.status != http.StatusUnauthorized {
		t.Errorf("nobody: %d %s", a.status, a.raw)
	}
	if a := c.get(c.url+"/jobs/", c.as(principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.JobsWrite}})); a.status != http.StatusForbidden {
		t.Errorf("without the scope: %d %s", a.status, a.raw)
	}
}

// Only the gateway can assert the principal of a request.
func TestAPrincipalThatTheGatewayDidNotSignIsRefused(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.receivedOf("alice")
	j.until("processing", 10)
	now := time.Now()
	var config principal.Config
	j.Load(&config)
	sign := func(c principal.Config, at time.Time) string {
		signed, err := principal.NewSigner(c).Sign(admin(), at)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	encode := base64.RawURLEncoding.EncodeToString
	unsigned := encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." +
		encode(fmt.Appendf(nil, `{"iss":"sori-gateway","sub":"alice","scope":"admin","exp":%d}`, now.Add(time.Minute).Unix())) + "."
	ticket, _, err := principal.NewTickets(config, time.Now).Issue(admin(), j.id)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(config, now)
	for name, header := range map[string]string{
		"an owner": "alice", "unsigned": unsigned, "of ten minutes ago": sign(config, now.Add(-10*time.Minute)),
		"another secret": sign(principal.Config{Secret: "another-secret-of-32-bytes-012345"}, now),
		"a ticket":       ticket, "two": good + "," + good, "cut": good[:len(good)-2],
	} {
		for _, r := range slices.Concat(reads(), writes()) {
			if a := j.ask(r, j.id, map[string]string{principal.Header: header}); a.status != http.StatusUnauthorized {
				t.Errorf("%s, %s: %d %s", name, r.name(), a.status, a.raw)
			}
		}
	}
	for _, path := range []string{"/", "/health", "/livez", "/readyz", "/metrics"} {
		resp := j.send(j.Context(), http.MethodGet, j.url+path, nobody())
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if logged := j.Logged(); strings.Contains(logged, ticket) || strings.Contains(logged, good) || strings.Contains(logged, unsigned) {
		t.Error("a credential is logged")
	}
}

// ticketFor requests a ticket. It returns the ticket, and its links by route.
func (l *testJob) ticketFor(p principal.Principal) (ticket string, links map[string]string) {
	l.t.Helper()
	a := l.request(http.MethodPost, l.url+"/jobs/"+l.id+"/ticket", l.as(p))
	var told struct {
		Ticket      string    `json:"ticket"`
		ExpiresAt   time.Time `json:"expires_at"`
		ProgressURL string    `json:"progress_url"`
		ResultURL   string    `json:"result_url"`
		AudioURL    string    `json:"audio_url"`
	}
	if err := json.Unmarshal([]byte(a.raw), &told); err != nil || a.status != http.StatusCreated || a.header.Get("Cache-Control") != "no-store" {
		l.t.Fatalf("ticket: %d %v %s", a.status, a.header, a.raw)
	}
	if left := time.Until(told.ExpiresAt); left < 9*time.Minute || left > 10*time.Minute {
		l.t.Errorf("the ticket expires in %v", left)
	}
	return told.Ticket, map[string]string{"progress": l.url + told.ProgressURL, "result": l.url + told.ResultURL, "audio": l.url + told.AudioURL}
}

func TestATicketShowsOneJobWithoutAnyHeader(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j, other, ownerless := c.job(), c.job(), c.job()
	for _, of := range []*testJob{j, other} {
		states()["running"](of)
	}
	ownerless.received()
	ownerless.storedInBucket()
	ownerless.until("processing", 70)
	for name, s := range map[string]struct {
		job *testJob
		p   principal.Principal
	}{
		"the owner": {j, user("alice")}, "an admin": {j, admin()}, "an admin of a job without an owner": {ownerless, admin()},
	} {
		ticket, links := s.job.ticketFor(s.p)
		for route, status := range map[string]int{"result": http.StatusOK, "audio": http.StatusTemporaryRedirect, "progress": http.StatusOK} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := c.ask(route0(method, route, ticket), s.job.id, nobody())
				if a.status != status || a.header.Get("Referrer-Policy") != "no-referrer" {
					t.Errorf("%s, %s %s: %d %v %s", name, method, route, a.status, a.header, a.raw)
				}
			}
			if !strings.HasSuffix(links[route], "?ticket="+ticket) {
				t.Errorf("the link %s", links[route])
			}
			if a := c.ask(route0(http.MethodGet, route, ticket), other.id, nobody()); a.status != http.StatusUnauthorized || a.body.Code != "invalid-ticket" {
				t.Errorf("%s, %s of another job: %d %s", name, route, a.status, a.raw)
			}
			if a := c.ask(route0(http.MethodGet, route, ticket), s.job.id, c.as(user("bob"))); a.status != http.StatusNotFound {
				t.Errorf("%s, %s as another user: %d %s", name, route, a.status, a.raw)
			}
			if a := c.ask(route0(http.MethodGet, route, ticket[:len(ticket)-2]), s.job.id, nobody()); a.status != http.StatusUnauthorized {
				t.Errorf("%s, %s with a forged ticket: %d %s", name, route, a.status, a.raw)
			}
		}
		for _, r := range append(writes(), route{method: http.MethodPost, path: "/jobs/{id}/ticket"}, route{method: http.MethodGet, path: "/jobs/"}) {
			path, query, _ := strings.Cut(r.path, "?")
			r.path = path + "?ticket=" + ticket + "&" + query
			if a := c.ask(r, s.job.id, nobody()); a.status != http.StatusUnauthorized || a.body.Code != "unauthenticated" {
				t.Errorf("%s, %s: %d %s", name, r.name(), a.status, a.raw)
			}
		}
		if strings.Contains(c.Logged(), ticket) {
			t.Error("a ticket is logged")
		}
	}
	ticket, _ := j.ticketFor(user("alice"))
	j.erase(http.StatusOK, "deleted")
	if a := c.ask(route0(http.MethodGet, "result", ticket), j.id, nobody()); a.status != http.StatusGone {
		t.Errorf("of an erased job: %d %s", a.status, a.raw)
	}
}

// route0 returns one of the routes that accept a ticket, with the ticket.
func route0(method, name, ticket string) route {
	paths := map[string]string{"result": "/tokens/analysis-result/{id}", "progress": "/tokens/analysis-progress/{id}", "audio": "/jobs/{id}/audio"}
	return route{method: method, path: paths[name] + "?ticket=" + ticket}
}

// A stream is open for longer than its ticket is valid. The next stream needs a new ticket.
func TestAStreamOutlivesItsTicketAndIsNotBegunAgainWithIt(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"SSE_HEARTBEAT": "50ms"})
	j := c.job()
	states()["running"](j)
	var config principal.Config
	c.Load(&config)
	// The ticket expired 28 seconds ago: the clocks of two machines may differ by half a minute.
	issued := time.Now().Add(-10*time.Minute - 28*time.Second)
	ticket, _, err := principal.NewTickets(config, func() time.Time { return issued }).Issue(user("alice"), j.id)
	if err != nil {
		t.Fatal(err)
	}
	url := j.progressURL() + "?ticket=" + ticket
	s := c.stream(url, nobody())
	if f := s.next(); f.body.Status != "processing" {
		t.Fatalf("%d %+v", s.status, f)
	}
	testkit.Eventually(t, func() error {
		resp := c.send(c.Context(), http.MethodHead, url, nobody())
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("the ticket still counts: %d", resp.StatusCode)
		}
		return nil
	})
	j.completed(`{}`)
	if frames := s.rest(); len(frames) == 0 || frames[len(frames)-1].body.Status != "completed" {
		t.Errorf("the stream ended with %+v", frames)
	}
	if a := c.get(url, map[string]string{principal.Header: "", "Last-Event-ID": "1"}); a.status != http.StatusUnauthorized || a.body.Code != "invalid-ticket" {
		t.Errorf("begun again: %d %s", a.status, a.raw)
	}
}

func TestAStreamEndsWhenWhatAuthenticatedItsReaderExpires(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"SSE_HEARTBEAT": "50ms"})
	j := c.job()
	states()["running"](j)
	p := user("alice")
	p.Expires = time.Now().Add(-28 * time.Second) // the clocks of two machines may differ by half a minute
	s := c.stream(j.progressURL(), c.as(p))
	if f := s.next(); f.body.Status != "processing" {
		t.Fatalf("%d %+v", s.status, f)
	}
	last, retried := frame{}, ""
	for f, ok := s.block(); ok; f, ok = s.block() {
		last, retried = f, f.retry
	}
	if err := s.lines.Err(); err != nil || retried == "" || last.data != "" {
		t.Errorf("the stream ended with %+v, %v", last, err)
	}
	if a := c.get(j.progressURL(), c.as(p)); a.status != http.StatusUnauthorized {
		t.Errorf("begun again: %d %s", a.status, a.raw)
	}
}

func TestAUserControlsAJobWhileTheDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j, none := c.job(), c.job()
	states()["running"](j)
	proxy, database := between(t, c.Database())
	c.url = c.replica(map[string]string{"DATABASE_URL": database})
	proxy.set(true)
	cancel := writes()[0]
	for _, id := range []string{j.id, none.id} { // another user learns nothing about the job from the outage
		if a := c.ask(cancel, id, c.as(user("bob"))); a.status != http.StatusServiceUnavailable {
			t.Errorf("another user: %d %s", a.status, a.raw)
		}
	}
	if a := c.ask(cancel, j.id, c.as(user("alice"))); a.status != http.StatusAccepted {
		t.Errorf("the owner: %d %s", a.status, a.raw)
	}
	proxy.set(false)
	j.until("canceled", 90)
}

func TestAUserReadsARecordedJobWhileTheBusIsUnavailable(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	j, none := c.job(), c.job()
	states()["completed"](j)
	nats := c.Proxy(c.Settings(nil)["NATS_URL"])
	c.url = c.replica(map[string]string{"NATS_URL": nats.URL})
	nats.Cut()
	if a := c.ask(reads()[0], j.id, c.as(user("alice"))); a.status != http.StatusOK {
		t.Errorf("the owner: %d %s", a.status, a.raw)
	}
	for _, id := range []string{j.id, none.id} { // another user learns nothing about the job from the outage
		if a := c.ask(reads()[0], id, c.as(user("bob"))); a.status != http.StatusServiceUnavailable {
			t.Errorf("another user: %d %s", a.status, a.raw)
		}
	}
	nats.Restore()
}
