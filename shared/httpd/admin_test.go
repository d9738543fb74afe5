package httpd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"sori.internal/shared/health"
	"sori.internal/shared/httpd"
	"sori.internal/shared/metrics"
)

func TestTheMetricsAreServedOnTheAdminAddressOnly(t *testing.T) {
	t.Parallel()
	if rec := get(newMux(io.Discard), "GET", "/metrics", ""); rec.Code != http.StatusNotFound {
		t.Errorf("among the routes for clients: %d", rec.Code)
	}
	listening := make(chan net.Addr, 1)
	admin := &httpd.Admin{
		Config: httpd.AdminConfig{Addr: "127.0.0.1:0"}, Metrics: metrics.New(),
		Health:    health.New(map[string]health.Check{"bus": func(context.Context) error { return errors.New("away") }}, zerolog.Nop()),
		Listening: func(a net.Addr) { listening <- a }, Log: zerolog.Nop(),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.Run(ctx) }()
	base := "http://" + (<-listening).String()
	for path, want := range map[string]string{"/metrics": `sori_dependency_ready{dependency="bus"} 0`, "/livez": "ok", "/health": "healthy"} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s: %s: %s", path, resp.Status, text)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWithoutAnAdminAddressNothingIsServed(t *testing.T) {
	t.Parallel()
	if err := (&httpd.Admin{}).Run(t.Context()); err != nil {
		t.Error(err)
	}
}
