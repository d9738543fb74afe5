package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/principal"
)

func user(owner string) principal.Principal {
	return principal.Principal{Owner: owner, Scopes: principal.UserScopes()}
}

func admin() principal.Principal {
	return principal.Principal{Owner: "root", Scopes: []principal.Scope{principal.Admin}}
}

// route is a request about one job, without the id of the job.
type route struct {
	method, path string // path contains {id}, which stands for the job's id
	header       map[string]string
}

func (r route) name() string { return fmt.Sprint(r.method, " ", r.path, " ", r.header) }

// reads returns every request that reads a job. writes returns every request that changes a job.
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

// ask sends a request about the job with the given id. The parameter as has the principal header,
// to which the headers of the route are added.
func (c *env) ask(r route, id string, as map[string]string) answer {
	c.t.Helper()
	header := maps.Clone(as)
	maps.Copy(header, r.header)
	ctx, url := c.Context(), c.url+strings.ReplaceAll(r.path, "{id}", id)
	if r.method == http.MethodGet && strings.Contains(r.path, "analysis-progress") {
		resp := c.send(ctx, r.method, url, header)
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK { // the body of a stream would not end
			return answer{status: resp.StatusCode, header: resp.Header}
		}
	}
	return c.request(r.method, url, header)
}

// tells returns an answer as text, without the parts that differ between any two answers. The text
// replaces the job's id, so that the answers for two jobs can be compared.
func (a answer) tells(id string) string {
	header := a.header.Clone()
	header.Del("Date")
	header.Del("X-Request-Id")
	var body map[string]any
	_ = json.Unmarshal([]byte(a.raw), &body) // the transport validates answers against the OpenAPI document, and reports a malformed body
	delete(body, "request_id")
	header.Del("Content-Length")
	text, _ := json.Marshal(body)
	return strings.ReplaceAll(fmt.Sprint(a.status, header, string(text)), id, "ID")
}

// states returns, for each state, a function that brings a job of alice into the state. The state
// of a job that is accepted but not recorded is missing (env.unrecorded).
func states() map[string]func(*testJob) {
	return map[string]func(*testJob){
		"running": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.attempted(1)
			j.dispatched(1)
			j.awaitStatus("processing", 90)
		},
		"completed": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.attempted(1)
			j.completed(`{"secret":true}`)
			j.awaitStatus("completed", 100)
		},
		"failed": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.failed()
			j.awaitStatus("failed", 70)
		},
		"canceled": func(j *testJob) {
			j.receivedOf("alice")
			j.storedInBucket()
			j.publish(event.Canceled{JobID: j.id})
			j.awaitStatus("canceled", 70)
		},
		"erased": func(j *testJob) {
			j.receivedOf("alice")
			j.awaitStatus("processing", 10)
			j.erase(http.StatusOK, "deleted")
			j.forget()
		},
		"expired": func(j *testJob) { // the log has expired
			j.receivedOf("alice")
			j.storedInBucket()
			j.failed()
			j.awaitStatus("failed", 70)
			j.forgetAll()
		},
	}
}

func (l *testJob) receivedOf(owner string) {
	l.publish(event.Received{JobID: l.id, TokenID: 7, Owner: owner, FileName: "a.wav", MediaType: "audio/wav", Size: 1000, SHA256: "ab", Chunks: 1})
}

// storedInBucket appends the event `stored` with a bucket name that is valid for presigned URLs.
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

// unrecorded locks the table of records until the test ends, so that jobs are accepted but not
// recorded.
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

// checkHidden checks that principals without access to a job get the same answers as for a job that
// does not exist, and that their requests do not change the job.
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
		for _, of := range []string{j.id, none.id} { // the owner gets 403 with an API key that lacks the scope of the route
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

// Another user gets the same answer for a job of alice as for a job that does not exist: for every
// state, route, header and query.
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
		j.awaitStatus("processing", 10)
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
	want := map[string]map[string]int{ // status by state and route; "reads" stands for the routes that are not listed
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
		j.awaitStatus("processing", 10)
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
