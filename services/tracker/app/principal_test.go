package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/principal"
	"sori.internal/shared/testkit"
)

// A request whose principal is unsigned or has an invalid signature must be refused.
func TestAPrincipalThatTheGatewayDidNotSignIsRefused(t *testing.T) {
	t.Parallel()
	j := open(t, nil).job()
	j.receivedOf("alice")
	j.awaitStatus("processing", 10)
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
	for _, path := range []string{"/", "/health", "/livez", "/readyz"} {
		resp := j.send(j.Context(), http.MethodGet, j.url+path, nobody())
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if logged := j.Logged(); strings.Contains(logged, ticket) || strings.Contains(logged, good) || strings.Contains(logged, unsigned) {
		t.Error("a credential is logged")
	}
}

// ticketFor requests a ticket for a principal. It returns the ticket, and the URLs that contain the
// ticket, by route.
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
	ownerless.awaitStatus("processing", 70)
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

// route0 returns a request with a ticket to one of the routes that accept tickets.
func route0(method, name, ticket string) route {
	paths := map[string]string{"result": "/tokens/analysis-result/{id}", "progress": "/tokens/analysis-progress/{id}", "audio": "/jobs/{id}/audio"}
	return route{method: method, path: paths[name] + "?ticket=" + ticket}
}

// A stream must stay open after its ticket has expired. A new stream with the expired ticket must
// be refused.
func TestAStreamOutlivesItsTicketAndIsNotBegunAgainWithIt(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"SSE_HEARTBEAT": "50ms"})
	j := c.job()
	states()["running"](j)
	var config principal.Config
	c.Load(&config)
	// The ticket expired 28 s ago and is still accepted, since the clocks of two machines may
	// differ by 30 s. It becomes invalid while the stream is open.
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
	p.Expires = time.Now().Add(-28 * time.Second) // accepted for 2 s more: clocks may differ by 30 s
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
	proxy, database := startProxy(t, c.MigratedDatabase())
	c.url = c.replica(map[string]string{"DATABASE_URL": database})
	proxy.set(true)
	cancel := writes()[0]
	for _, id := range []string{j.id, none.id} { // an existing and a missing job must have the same answer
		if a := c.ask(cancel, id, c.as(user("bob"))); a.status != http.StatusServiceUnavailable {
			t.Errorf("another user: %d %s", a.status, a.raw)
		}
	}
	if a := c.ask(cancel, j.id, c.as(user("alice"))); a.status != http.StatusAccepted {
		t.Errorf("the owner: %d %s", a.status, a.raw)
	}
	proxy.set(false)
	j.awaitStatus("canceled", 90)
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
	for _, id := range []string{j.id, none.id} { // an existing and a missing job must have the same answer
		if a := c.ask(reads()[0], id, c.as(user("bob"))); a.status != http.StatusServiceUnavailable {
			t.Errorf("another user: %d %s", a.status, a.raw)
		}
	}
	nats.Restore()
}
