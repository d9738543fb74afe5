package target

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/client"
)

func TestAStubAnalyzerAcceptsAndFinishesWhenTold(t *testing.T) {
	t.Parallel()
	h, err := StartStubAnalyzer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	called := make(chan string, 1)
	dispatcher := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		called <- r.URL.RawQuery + " " + string(text)
	}))
	defer dispatcher.Close()
	for range 2 { // a repeated request is accepted, too
		resp, err := http.PostForm(h.URL(), url.Values{"job_id": {"j"}, "webhook_url": {dispatcher.URL + "/?sig=s"}})
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	finish, err := h.Held(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-called:
		t.Fatalf("it called back before it was told: %s", got)
	default:
	}
	if err := finish(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if got := <-called; !strings.HasPrefix(got, "sig=s {") || !strings.Contains(got, "analysis_results") {
		t.Error(got)
	}
	resp, err := http.PostForm(h.URL(), url.Values{"job_id": {"k"}, "webhook_url": {dispatcher.URL + "/"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := h.Complete(t.Context(), "k", `[7]`); err != nil {
		t.Fatal(err)
	}
	if got := <-called; !strings.HasSuffix(got, `"analysis_results":[7]}`) {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Held(ctx, "another"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := h.Complete(ctx, "another", ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCompletionsAreNotedEarlyLateAndNotTwice(t *testing.T) {
	t.Parallel()
	e := newCompletions()
	first := client.Job{JobID: "a", Status: client.Completed, At: time.Unix(1, 0)}
	e.add(first) // the first call of add comes before the call of Wait
	waits := make(chan []client.Job)
	go func() {
		found, err := e.Wait(context.Background(), nil, "a", "b")
		if err != nil {
			t.Error(err)
		}
		waits <- found
	}()
	e.add(client.Job{JobID: "a", Status: "failed", At: time.Unix(2, 0)})
	e.add(client.Job{JobID: "b", Status: client.Completed, At: time.Unix(3, 0)})
	found := <-waits
	if len(found) != 2 || !reflect.DeepEqual(found[0], first) || found[1].JobID != "b" {
		t.Errorf("%+v", found)
	}
	if len(e.jobs) > 1 { // the second end of job a may have been recorded after Wait had deleted the first
		t.Errorf("something is kept: %v", e.jobs)
	}
}
