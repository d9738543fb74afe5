package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"sori.internal/shared/testkit"
)

// dispatcher is a stub that records the callbacks that it receives.
type dispatcher struct {
	mu    sync.Mutex
	got   []string
	paths []string
}

func (d *dispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got, d.paths = append(d.got, string(body)), append(d.paths, r.URL.RequestURI())
	w.WriteHeader(http.StatusTeapot)
}

func (d *dispatcher) arrived() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.got)
}

// open starts a proxy with two targets: a running dispatcher, and one that has been stopped.
func open(t *testing.T) (*webhookProxy, *dispatcher) {
	t.Helper()
	d := &dispatcher{}
	there, away := httptest.NewServer(d), httptest.NewServer(d)
	away.Close()
	t.Cleanup(there.Close)
	c, err := openWebhookProxy(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	c.serve([]string{away.URL, there.URL})
	return c, d
}

// post sends a callback and returns the status of the answer, or 0 if there is no answer.
func post(t *testing.T, c *webhookProxy, body string) int {
	t.Helper()
	resp, err := http.Post(c.url+"/webhook?job_id=7", "application/json", strings.NewReader(body))
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestCallbacksPassToADispatcherThatAnswers(t *testing.T) {
	t.Parallel()
	c, d := open(t)
	for i := range 4 {
		if status := post(t, c, fmt.Sprint(i)); status != http.StatusTeapot {
			t.Errorf("status %d", status)
		}
	}
	if got := d.arrived(); !slices.Equal(got, []string{"0", "1", "2", "3"}) || d.paths[0] != "/webhook?job_id=7" {
		t.Errorf("%v at %v", got, d.paths)
	}
}

func TestCallbacksAreLostInEveryWay(t *testing.T) {
	t.Parallel()
	c, d := open(t)
	c.inject(drop)
	const sent = 60
	told := 0
	for i := range sent {
		switch status := post(t, c, fmt.Sprint(i)); status {
		case http.StatusOK:
			told++
		case 0:
		default:
			t.Errorf("status %d", status)
		}
	}
	if arrived := len(d.arrived()); told == 0 || arrived == 0 || told+arrived >= sent {
		t.Errorf("of %d, %d were said to have arrived and did not, %d arrived", sent, told, arrived)
	}
	if n := c.faults()[drop]; n != sent {
		t.Errorf("%d are counted", n)
	}
}

func TestCallbacksArriveInAnotherOrderAndAllOfThem(t *testing.T) {
	t.Parallel()
	c, d := open(t)
	c.inject(reorder)
	var sent []string
	for i := range 20 {
		sent = append(sent, fmt.Sprint(i))
		if status := post(t, c, sent[i]); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	c.inject("")
	testkit.Eventually(t, func() error {
		if n := len(d.arrived()); n != len(sent) {
			return fmt.Errorf("%d arrived", n)
		}
		return nil
	})
	got := d.arrived()
	if slices.Equal(got, sent) {
		t.Error("they arrived in order")
	}
	slices.Sort(got)
	slices.Sort(sent)
	if !slices.Equal(got, sent) {
		t.Errorf("%v arrived", got)
	}
}

func TestCallbacksAreRepeatedAndDelayed(t *testing.T) {
	t.Parallel()
	c, d := open(t)
	c.inject(repeat)
	for range 8 {
		post(t, c, "again")
	}
	c.inject(delay)
	if status := post(t, c, "late"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	testkit.Eventually(t, func() error {
		got := d.arrived()
		if len(got) <= 9 || !slices.Contains(got, "late") {
			return fmt.Errorf("%v arrived", got)
		}
		return nil
	})
}
