package lifecycle

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sori.internal/shared/config"
)

func TestTheHealthcheckAsksTheServiceBesideIt(t *testing.T) {
	t.Parallel()
	ready := true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	type settings struct {
		Addr string `env:"HTTP_ADDR"`
	}
	ask := func(addr string) error {
		return healthcheck(t.Context(), config.Map(map[string]string{"HTTP_ADDR": addr}), &settings{})
	}
	if err := ask(":" + port); err != nil {
		t.Errorf("ready: %v", err)
	}
	ready = false
	if ask(":"+port) == nil {
		t.Error("not ready, and well")
	}
	s.Close()
	if ask(":"+port) == nil {
		t.Error("away, and well")
	}
	if ask("") == nil {
		t.Error("nowhere, and well")
	}
}

func TestTheHealthcheckKnowsTheDefaultAddress(t *testing.T) {
	t.Parallel()
	type settings struct {
		Other string `env:"OTHER" envDefault:"x"`
		Addr  string `env:"HTTP_ADDR" envDefault:":8123"`
	}
	for given, want := range map[string]string{"": ":8123", "127.0.0.1:9": "127.0.0.1:9"} {
		got, err := listenAddress(config.Map(map[string]string{"HTTP_ADDR": given}), &settings{})
		if err != nil || got != want {
			t.Errorf("HTTP_ADDR=%q: %q, %v", given, got, err)
		}
	}
}
