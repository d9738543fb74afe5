package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/shared/fault"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestAClientMaySendItsBurstAndThenItsRate(t *testing.T) {
	t.Parallel()
	r := ratelimit.NewSet("x").NewRate("address", "requests", 20, 10*time.Second)
	for i := range 20 {
		s, err := r.Take("a", now)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if i == 4 && (s.Policy() != `"address";q=20;w=10` || s.Limit() != `"address";r=15;t=3`) {
			t.Errorf("%s, %s", s.Policy(), s.Limit())
		}
	}
	s, err := r.Take("a", now)
	if f := fault.As(err); f.Kind != fault.RateLimited || f.Code != "rate-limited" || f.RetryAfter != 500*time.Millisecond || f.Extra["limit"] != "requests" {
		t.Errorf("%+v", f)
	}
	if s.Limit() != `"address";r=0;t=10` {
		t.Error(s.Limit())
	}
	if _, err := r.Take("b", now); err != nil {
		t.Errorf("another client: %v", err)
	}
	if _, err := r.Take("a", now.Add(500*time.Millisecond)); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if _, err := r.Take("a", now.Add(500*time.Millisecond)); err == nil {
		t.Error("two after the wait for one")
	}
}

func TestTheRememberedClientsAreBounded(t *testing.T) {
	t.Parallel()
	r := ratelimit.NewSet("x").NewRate("address", "requests", 10, 10*time.Second)
	for range 11 {
		_, _ = r.Take("attacker", now)
	}
	const n = 100_000
	began := time.Now()
	for i := range n { // each from an address of its own
		if _, err := r.Take(fmt.Sprint(i), now); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 2*time.Minute { // searching all buckets for each new client would take longer
		t.Errorf("%d clients took %v", n, took)
	}
	if known := r.Clients(); known > 1<<16 {
		t.Errorf("%d clients are remembered", known)
	}
	if _, err := r.Take("one more", now.Add(time.Minute)); err != nil || r.Clients() > 1 {
		t.Errorf("%v: %d clients are remembered after their buckets are full", err, r.Clients())
	}
}

func TestAClientDoesOnlySoMuchAtOnce(t *testing.T) {
	t.Parallel()
	c := ratelimit.NewSet("x").NewConcurrency("streams", 2)
	first, err := c.Acquire("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire("a"); !fault.Is(err, fault.RateLimited) || fault.As(err).Extra["limit"] != "streams" {
		t.Errorf("a third: %v", err)
	}
	if _, err := c.Acquire("b"); err != nil {
		t.Errorf("another client: %v", err)
	}
	first()
	first() // has no effect
	if _, err := c.Acquire("a"); err != nil {
		t.Errorf("after the first: %v", err)
	}
	if _, err := c.Acquire("a"); err == nil {
		t.Error("a third again")
	}
	for range 3 { // an empty client and a limit of 0 are not limited
		if _, err := c.Acquire(""); err != nil {
			t.Error(err)
		}
		if _, err := ratelimit.NewSet("x").NewConcurrency("streams", 0).Acquire("a"); err != nil {
			t.Error(err)
		}
	}
}
