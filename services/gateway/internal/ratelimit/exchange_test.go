package ratelimit_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// fewerThan6000 matches the header of a client that may send 2000 to 5999 requests.
var fewerThan6000 = regexp.MustCompile(`^"principal";r=[2-5]\d{3};`)

func TestRequestsAtOneReplicaCountAtAllReplicas(t *testing.T) {
	t.Parallel()
	all := started(t, testkit.New(t), 3)
	all[0].take("a", quota*2/5)
	for _, r := range all[1:] {
		testkit.Eventually(t, func() error {
			s, err := r.rate.Take("a", time.Now())
			if err == nil && !fewerThan6000.MatchString(s.Limit()) {
				err = errors.New(s.Limit())
			}
			return err
		})
	}
	for { // the rest
		if _, err := all[0].rate.Take("a", time.Now()); err != nil {
			break
		}
	}
	for _, r := range all[1:] {
		r.refusesRequests("a")
		r.take("b", 1)
	}
}

func TestWhatAClientTookBeyondItsLimitIsADebt(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	var all []*replica
	for range 3 {
		all = append(all, newReplica(t, k, natsURL(k)))
	}
	for _, r := range all { // each replica allows a whole burst, since none knows of the others
		r.take("a", quota)
	}
	for _, r := range all {
		r.start()
	}
	for _, r := range all { // the client must wait for two bursts of requests, which takes an hour for each request
		testkit.Eventually(t, func() error {
			_, err := r.rate.Take("a", time.Now())
			if wait := fault.As(err).RetryAfter; wait < (2*quota-10)*time.Hour || wait > (2*quota+1)*time.Hour {
				return fmt.Errorf("the client must wait %v", wait)
			}
			return nil
		})
	}
}

func TestStreamsCountAtAllReplicasUntilTheyEnd(t *testing.T) {
	t.Parallel()
	all := started(t, testkit.New(t), 3)
	releases := all[0].acquire("a", 1)
	all[1].refusesNothing("b")
	releases = append(releases, all[1].acquire("a", streams-1)...)
	for _, r := range all {
		r.refusesStreams("a")
		r.refusesNothing("b")
	}
	releases[0]()
	all[2].allowsAStream("a")
	for _, r := range all {
		r.refusesStreams("a")
	}
}

func TestAChangeIsReportedAtTheNextInterval(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	a, other := newReplica(t, k, natsURL(k)), started(t, k, 1)[0]
	testkit.Eventually(t, func() error { return a.bus.Ping(k.Context()) })
	newSender(t, k).awaitsSubscription(other)
	a.Report() // the first message is about all clients; the next one is about the changes only
	releases := a.acquire("a", streams)
	a.Report()
	other.refusesStreams("a")
	releases[0]()
	a.Report()
	other.allowsAStream("a")
}

func TestTheStreamsOfAReplicaThatStopsAreFree(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	stopping, other := newReplica(t, k, natsURL(k)), started(t, k, 1)[0]
	stop := stopping.start()
	stopping.acquire("a", streams)
	other.refusesStreams("a")
	stop() // publishes that the replica stops, although its streams have not ended
	other.allowsAStream("a")
}

func TestTheStreamsOfAReplicaThatIsKilledAreFreeAfterAWhile(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	killed := started(t, k, 1)[0]
	other := newReplica(t, k, natsURL(k))
	other.Expire()
	other.start()
	killed.acquire("a", streams)
	other.refusesStreams("a")
	if err := killed.bus.Close(); err != nil { // the killed replica cannot publish any more
		t.Fatal(err)
	}
	other.allowsAStream("a")
}

func TestAReplicaThatStartsLearnsWhatClientsDo(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	started(t, k, 1)[0].acquire("a", streams)
	started(t, k, 1)[0].refusesStreams("a")
}

func TestEachReplicaLimitsForItselfWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(natsURL(k))
	a, b := newReplica(t, k, proxy.URL), newReplica(t, k, proxy.URL)
	a.start()
	b.start()
	a.acquire("before", streams)
	b.refusesStreams("before")
	proxy.Cut()
	for _, r := range []*replica{a, b} {
		testkit.Eventually(t, func() error {
			if r.bus.Broadcast("x", nil) == nil {
				return errors.New("still connected")
			}
			return nil
		})
	}
	held := a.acquire("a", streams)
	own := b.acquire("a", streams)
	for _, r := range []*replica{a, b} {
		r.refusesStreams("a")
		r.take("a", quota)
		r.refusesRequests("a")
	}
	for _, release := range own {
		release()
	}
	proxy.Restore()
	b.refusesStreams("a") // b must now count the client's streams at replica a
	held[0]()
	b.allowsAStream("a")
	a.take("after", quota)
	b.refusesRequests("after")
}

func TestThatNATSIsAwayIsLoggedOnce(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	proxy := k.Proxy(natsURL(k))
	r := newReplica(t, k, proxy.URL)
	testkit.Eventually(t, func() error { return r.bus.Ping(k.Context()) })
	proxy.Cut()
	testkit.Eventually(t, func() error {
		if r.Report(); !strings.Contains(k.Logged(), "hold in this replica only") {
			return errors.New("nothing is logged")
		}
		return nil
	})
	for range 100 {
		r.Report()
	}
	if n := strings.Count(k.Logged(), "hold in this replica only"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	proxy.Restore()
	testkit.Eventually(t, func() error {
		if r.Report(); !strings.Contains(k.Logged(), "hold over all replicas again") {
			return errors.New("nothing is logged")
		}
		return nil
	})
}
