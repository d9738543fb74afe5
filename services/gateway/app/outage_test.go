package app_test

import (
	"bytes"
	"net/http"
	"testing"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// withFaultProxies starts a gateway whose connections to NATS and Postgres a test can cut.
func withFaultProxies(t *testing.T) (_ *env, nats, db *testkit.Proxy) {
	t.Helper()
	kit := testkit.New(t)
	db = kit.Proxy(kit.MigratedDatabase())
	nats = kit.Proxy(kit.Settings(nil)["NATS_URL"])
	i := kit.Run(app.Run, map[string]string{
		"TRACKER_URL": "http://127.0.0.1:1", "DISPATCHER_URL": "http://127.0.0.1:1", "DATABASE_URL": db.URL, "NATS_URL": nats.URL,
	})
	return newEnv(t, kit, i), nats, db
}

func (g *env) withToken() *env {
	g.ready()
	g.token = int64(g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)["id"].(float64))
	return g
}

func TestUploadsGet503WhileADependencyIsAway(t *testing.T) {
	t.Parallel()
	g, nats, db := withFaultProxies(t)
	g.withToken()
	file := part{name: "file", file: "a.wav", content: wav(600 << 10)}

	db.Cut()
	g.problem(g.upload(nil, file), 503, "unavailable")
	g.problem(g.do("GET", "/tokens", nil, nil), 503, "unavailable")
	db.Restore()
	nats.Cut()
	g.problem(g.upload(nil, file), 503, "unavailable")
	if r := g.do("GET", "/livez", nil, nil); r.StatusCode != http.StatusOK {
		t.Errorf("livez: %s", r.Status)
	}
	testkit.Eventually(t, func() error {
		if r := g.do("GET", "/readyz", nil, nil); r.StatusCode != http.StatusServiceUnavailable {
			return errStillReady
		}
		return nil
	})
	nats.Restore()
	g.assertNothingStored()
	g.ready()
	if r := g.upload(nil, file); r.StatusCode != http.StatusAccepted {
		t.Errorf("when all is back: %s: %s", r.Status, r.text)
	}
}

type sentence string

func (s sentence) Error() string { return string(s) }

const errStillReady = sentence("still ready")

func TestAnUploadDuringWhichNATSBreaksPublishesNothing(t *testing.T) {
	t.Parallel()
	g, nats, _ := withFaultProxies(t)
	g.withToken()
	held := nats.Hold(1 << 20)
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(4 << 20)})
	got := make(chan reply)
	go func() {
		r, err := g.try(g.kit.Context(), "POST", g.path(), bytes.NewReader(body), map[string]string{"Content-Type": contentType})
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	<-held
	nats.Cut()
	g.problem(<-got, 503, "unavailable")
	nats.Restore() // otherwise the connection to NATS could not be closed at the end of the test
	g.ready()
	stream, err := g.kit.JetStream().Stream(g.kit.Context(), g.kit.Namespace().Stream(event.Jobs().Name))
	if err != nil || stream.CachedInfo().State.Msgs != 0 {
		t.Errorf("something was published, or %v", err)
	}
}

func TestTheGatewayWaitsForItsDependencies(t *testing.T) {
	t.Parallel()
	g, nats, db := withFaultProxies(t)
	nats.Cut()
	db.Cut()
	if r := g.do("GET", "/livez", nil, nil); r.StatusCode != http.StatusOK {
		t.Errorf("livez: %s", r.Status)
	}
	g.token = 1
	g.problem(g.upload(nil, part{name: "file", file: "a.wav", content: wav(64)}), 503, "unavailable")
	nats.Restore()
	db.Restore()
	g.withToken()
	if r := g.upload(nil, part{name: "file", file: "a.wav", content: wav(64)}); r.StatusCode != http.StatusAccepted {
		t.Errorf("when all is there: %s: %s", r.Status, r.text)
	}
}
