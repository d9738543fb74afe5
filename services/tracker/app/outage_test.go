package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"sori.internal/services/tracker/app"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// proxy forwards the connections between the tracker and its database, and can close them.
type proxy struct {
	t      testing.TB
	target string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

// startProxy starts a proxy for a database, and returns the URL of the database through the proxy.
func startProxy(t testing.TB, database string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: u.Host, conns: map[net.Conn]struct{}{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.carry(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.set(true)
		wg.Wait()
	})
	u.Host = listener.Addr().String()
	return p, u.String()
}

func (p *proxy) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.cut {
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
	wg.Go(func() { _, _ = io.Copy(client, server); _ = client.Close() })
	wg.Wait()
}

// set closes all connections. If cut is true, the proxy also refuses new ones.
func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for conn := range p.conns {
		_ = conn.Close()
		delete(p.conns, conn)
	}
}

func TestEventsWaitWhileTheDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	line, through := startProxy(t, kit.MigratedDatabase())
	c := newEnv(t, kit)
	line.set(true) // the database is unavailable before the tracker starts, so setup must wait
	c.service = c.Run(app.Run, map[string]string{"DATABASE_URL": through})
	c.url = c.service.URL
	j := c.job()
	j.received()
	if a := c.get(j.resultURL(), nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("while it is away: %d %s", a.status, a.raw)
	}
	if a := c.get(j.progressURL(), nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("while it is away: %d %s", a.status, a.raw)
	}
	if a := c.get(c.url+"/readyz", nil); a.status != http.StatusServiceUnavailable || c.get(c.url+"/livez", nil).status != http.StatusOK {
		t.Errorf("while it is away: %d %s", a.status, a.raw)
	}
	if text := c.metrics(); !strings.Contains(text, `sori_dependency_ready{dependency="bus"} 1`) || !strings.Contains(text, `sori_dependency_ready{dependency="database"} 0`) {
		t.Errorf("while it is away:\n%s", text)
	}
	line.set(false)
	j.awaitStatus("processing", 10)

	s := j.stream(j.progressURL(), nil)
	s.next()
	line.set(true)
	j.stored()
	j.publish(event.Completed{JobID: j.id, Attempt: 1, Result: json.RawMessage(`{"a":1}`)})
	testkit.Eventually(t, func() error {
		if !strings.Contains(c.Logged(), `"outcome":"retry"`) {
			return fmt.Errorf("no event is waiting")
		}
		return nil
	})
	line.set(false)
	frames := s.rest() // the stream stayed open during the outage
	if last := frames[len(frames)-1]; last.body.Status != "completed" || string(last.body.Result) != `{"a":1}` {
		t.Errorf("the end: %s", last.data)
	}
	if dead := c.dead(); len(dead) != 0 {
		t.Errorf("dead letters: %v", dead)
	}
}

func TestRecordsAreServedWhileTheBusIsUnavailable(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	line, through := startProxy(t, kit.Settings(nil)["NATS_URL"])
	c := newEnv(t, kit)
	c.url = c.replica(map[string]string{"NATS_URL": through, "SSE_HEARTBEAT": "200ms"})
	j := c.job()
	j.received()
	j.awaitStatus("processing", 10)
	before := j.stream(j.progressURL(), nil)
	before.next()
	line.set(true)
	if a := c.get(j.resultURL(), nil); a.status != http.StatusOK || a.body.Progress != 10 {
		t.Errorf("%d %s", a.status, a.raw)
	}
	during := j.stream(j.progressURL(), nil)
	if f := during.next(); f.body.Progress != 10 {
		t.Errorf("%s", f.data)
	}
	if a := c.get(strings.Replace(j.resultURL(), j.id, c.job().id, 1), nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("a job that may be on its way: %d %s", a.status, a.raw)
	}
	c.exec(`UPDATE tracker.analysis_results SET version = 2, progress = 70, stage = 'stored' WHERE job_id = $1`, j.id)
	for _, s := range []*stream{before, during} {
		if f := s.next(); f.id != 2 {
			t.Errorf("%s", f.data)
		}
	}
	line.set(false)
	j.stored()
	j.failed()
	for _, s := range []*stream{before, during} {
		frames := s.rest()
		if last := frames[len(frames)-1]; last.body.Status != "failed" {
			t.Errorf("%s", last.data)
		}
	}
}
