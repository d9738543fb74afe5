package ratelimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"sori.internal/services/gateway/internal/ratelimit"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// The limits of a replica in these tests. A bucket gets one request an hour, so that none is refilled
// during a test.
const (
	quota   = 10_000
	streams = 3
)

// replica has the limits of one replica of the gateway, and exchanges them over NATS.
type replica struct {
	t       *testing.T
	set     *ratelimit.Set
	rate    *ratelimit.Rate
	streams *ratelimit.Concurrency
	bus     *bus.Bus
	*ratelimit.Exchange
}

// newReplica makes a replica that does not run. It connects to NATS at a URL.
func newReplica(t *testing.T, k *testkit.Kit, url string) *replica {
	t.Helper()
	var cfg bus.Config
	k.Load(&cfg)
	cfg.URL = config.Secret(url)
	b, err := bus.Open(cfg, "gateway", k.Log())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	r := &replica{t: t, set: ratelimit.NewSet("secret"), bus: b}
	r.rate = r.set.NewRate("principal", "requests", quota, quota*time.Hour)
	r.streams = r.set.NewConcurrency("streams", streams)
	r.Exchange = ratelimit.NewExchange(r.set, b, b.NewSubscriber(ratelimit.BufferSize), k.Log())
	r.NeverExpire()
	return r
}

// start runs the exchange until stop is called, at the latest at the end of the test.
func (r *replica) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background()) // the context of the test ends before its cleanups
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-ended; err != nil {
				r.t.Error(err)
			}
		}
	}
	r.t.Cleanup(stop)
	return stop
}

// natsURL returns the URL of NATS.
func natsURL(k *testkit.Kit) string { return k.Settings(nil)["NATS_URL"] }

// started returns replicas that run.
func started(t *testing.T, k *testkit.Kit, n int) (all []*replica) {
	t.Helper()
	for range n {
		r := newReplica(t, k, natsURL(k))
		r.start()
		all = append(all, r)
	}
	return all
}

// take sends n requests of a client, which must be allowed.
func (r *replica) take(client string, n int) {
	r.t.Helper()
	for range n {
		if _, err := r.rate.Take(client, time.Now()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// refusesRequests waits until a request of a client is refused, and returns how long the client must
// wait. This happens before the client has used up its quota at this replica.
func (r *replica) refusesRequests(client string) (retryAfter time.Duration) {
	r.t.Helper()
	allowed := 0
	testkit.Eventually(r.t, func() error {
		s, err := r.rate.Take(client, time.Now())
		if err != nil {
			retryAfter = fault.As(err).RetryAfter
			return nil
		}
		if allowed++; allowed == quota {
			r.t.Fatal("the client has used up its quota at this replica")
		}
		return fmt.Errorf("allowed: %s", s.Limit())
	})
	return retryAfter
}

// acquire begins n streams of a client, which must be allowed.
func (r *replica) acquire(client string, n int) (releases []func()) {
	r.t.Helper()
	for i := range n {
		release, err := r.streams.Acquire(client)
		if err != nil {
			r.t.Fatalf("stream %d of %s: %v", i, client, err)
		}
		releases = append(releases, release)
	}
	return releases
}

// refusesStreams waits until a stream of a client is refused.
func (r *replica) refusesStreams(client string) {
	r.t.Helper()
	testkit.Eventually(r.t, func() error {
		release, err := r.streams.Acquire(client)
		if err == nil {
			release()
			return errors.New("a stream is allowed")
		}
		return nil
	})
}

// allowsAStream waits until a stream of a client is allowed.
func (r *replica) allowsAStream(client string) {
	r.t.Helper()
	testkit.Eventually(r.t, func() error {
		_, err := r.streams.Acquire(client)
		return err
	})
}

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
	for _, r := range all { // before the replicas know of each other
		r.take("a", quota)
	}
	for _, r := range all {
		r.start()
	}
	for _, r := range all { // two bursts too many, of which an hour refills one request
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

// refusesNothing checks that a client may have all its streams.
func (r *replica) refusesNothing(client string) {
	r.t.Helper()
	for _, release := range r.acquire(client, streams) {
		release()
	}
}

func TestAChangeIsToldAtTheNextInterval(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	a, other := newReplica(t, k, natsURL(k)), started(t, k, 1)[0]
	testkit.Eventually(t, func() error { return a.bus.Ping(k.Context()) })
	newSender(t, k).awaitsSubscription(other)
	a.Tell() // about all clients; the next such message is ten intervals later
	releases := a.acquire("a", streams)
	a.Tell()
	other.refusesStreams("a")
	releases[0]()
	a.Tell()
	other.allowsAStream("a")
}

func TestTheStreamsOfAReplicaThatStopsAreFree(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	stopping, other := newReplica(t, k, natsURL(k)), started(t, k, 1)[0]
	stop := stopping.start()
	stopping.acquire("a", streams)
	other.refusesStreams("a")
	stop() // the streams have not ended, and other.NeverExpire
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
	if err := killed.bus.Close(); err != nil { // from now on it can tell nothing
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
	b.refusesStreams("a") // for those at a
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
		if r.Tell(); !strings.Contains(k.Logged(), "hold in this replica only") {
			return errors.New("nothing is logged")
		}
		return nil
	})
	for range 100 {
		r.Tell()
	}
	if n := strings.Count(k.Logged(), "hold in this replica only"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	proxy.Restore()
	testkit.Eventually(t, func() error {
		if r.Tell(); !strings.Contains(k.Logged(), "hold over all replicas again") {
			return errors.New("nothing is logged")
		}
		return nil
	})
}

// sender publishes messages as a replica would.
type sender struct {
	t       *testing.T
	nc      *nats.Conn
	subject string
}

func newSender(t *testing.T, k *testkit.Kit) sender {
	t.Helper()
	return sender{t, k.JetStream().Conn(), k.Namespace().Subject(event.LimitsSubject)}
}

func (s sender) send(format string, args ...any) {
	s.t.Helper()
	if err := s.nc.Publish(s.subject, fmt.Appendf(nil, format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

// awaitsSubscription returns when the replica receives messages.
func (s sender) awaitsSubscription(r *replica) {
	s.t.Helper()
	testkit.Eventually(s.t, func() error {
		s.send(`{"replica":"first","held":{"streams":{%q:%d}},"all":true}`, r.set.Key("first"), streams)
		release, err := r.streams.Acquire("first")
		if err == nil {
			release()
			return errors.New("no message has arrived")
		}
		return nil
	})
	s.send(`{"replica":"first","stopped":true}`)
}

func TestNonsenseChangesNothing(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	r, s := started(t, k, 1)[0], newSender(t, k)
	s.awaitsSubscription(r)
	client := r.set.Key("a")
	many := map[string]int{client: streams}
	for i := range 5000 {
		many[r.set.Key(fmt.Sprint(i))] = streams
	}
	tooMany, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	for i, nonsense := range []string{
		"", "null", "[]", `"x"`, "{", "\xff", "{}", `{"replica":7}`, `{"replica":null}`,
		`{"replica":"","held":{"streams":{"$":3}}}`,
		`{"replica":"` + strings.Repeat("x", 65) + `","held":{"streams":{"$":3}}}`,
		`{"replica":"x#","held":{"streams":{"$":-3}},"all":true}`,
		`{"replica":"x#","held":{"streams":{"$":1048577}},"all":true}`,
		`{"replica":"x#","held":{"streams":{"$":1e999}}}`,
		`{"replica":"x#","held":{"streams":{"$":3.5}}}`,
		`{"replica":"x#","held":{"streams":{"$":"3"}}}`,
		`{"replica":"x#","held":{"streams":{"$":99999999999999999999}}}`,
		`{"replica":"x#","held":{"streams":{"` + client[:21] + `":3,"$":3}}}`,
		`{"replica":"x#","held":{"streams":{"!` + client[1:] + `":3,"$":3}}}`,
		`{"replica":"x#","held":{"streams":[3]}}`,
		`{"replica":"x#","held":{"other":{"$":3},"":{"$":3},"principal":{"$":3}}}`,
		`{"replica":"x#","held":{"streams":` + string(tooMany) + `}}`,
		`{"replica":"x#","taken":{"principal":{"$":-1000}}}`,
		`{"replica":"x#","taken":{"principal":{"$":0}}}`,
		`{"replica":"x#","taken":{"principal":{"$":1048577}}}`,
		`{"replica":"x#","taken":{"streams":{"$":3}}}`,
		`{"replica":"y","stopped":true,"held":{"streams":{"$":3}}}`,
		strings.Repeat("[", 10_000), strings.Repeat(`{"held":`, 10_000),
	} {
		s.send("%s", strings.NewReplacer("$", client, "#", fmt.Sprint(i)).Replace(nonsense))
	}
	s.send(`{"replica":"x","new":1,"held":{"new":{},"streams":{%q:%d}},"taken":{"principal":{%q:100}}}`, r.set.Key("last"), streams, r.set.Key("last"))
	r.refusesStreams("last")
	r.acquire("a", streams)
	r.refusesStreams("a")
	if state, err := r.rate.Take("a", time.Now()); err != nil || !strings.HasPrefix(state.Limit(), `"principal";r=9999;`) {
		t.Errorf("%s: %v", state.Limit(), err)
	}
	if state, err := r.rate.Take("last", time.Now()); err != nil || !strings.HasPrefix(state.Limit(), `"principal";r=9899;`) {
		t.Errorf("%s: %v", state.Limit(), err)
	}
}

func TestTheReplicasAreBounded(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	r, s := started(t, k, 1)[0], newSender(t, k)
	s.awaitsSubscription(r)
	for i := range 200 {
		clients := map[string]int{}
		for j := range 100 {
			clients[r.set.Key(fmt.Sprint(i, j))] = 1
		}
		body, err := json.Marshal(map[string]any{"replica": fmt.Sprint(i), "held": map[string]any{"streams": clients}})
		if err != nil {
			t.Fatal(err)
		}
		s.send("%s", body)
	}
	s.send(`{"replica":"0","held":{"streams":{%q:3}}}`, r.set.Key("last"))
	r.refusesStreams("last")
	if _, elsewhere := r.streams.Clients(); elsewhere != 64*100+1 {
		t.Errorf("%d clients of other replicas are remembered", elsewhere)
	}
}

func TestManyClientsAreBounded(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	nc := k.JetStream().Conn()
	messages := make(chan *nats.Msg, 1<<16)
	if _, err := nc.ChanSubscribe(k.Namespace().Subject(event.LimitsSubject), messages); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	a, b := newReplica(t, k, natsURL(k)), started(t, k, 1)[0]
	a.take("busy", quota)
	a.acquire("busy", streams)
	var releases []func()
	for i := range 100_000 {
		client := fmt.Sprint("client ", i)
		a.take(client, 1)
		if i < 20_000 {
			releases = append(releases, a.acquire(client, 1)...)
		}
	}
	if known := a.rate.Clients(); known > 1<<16 {
		t.Errorf("%d clients are remembered", known)
	}
	a.start()
	b.refusesRequests("busy")
	b.refusesStreams("busy")
	if _, elsewhere := b.streams.Clients(); elsewhere > 4096 || b.rate.Clients() > 4097 {
		t.Errorf("%d and %d clients of another replica are remembered", elsewhere, b.rate.Clients())
	}
	for _, release := range releases {
		release()
	}
	testkit.Eventually(t, func() error {
		here, _ := a.streams.Clients()
		_, elsewhere := b.streams.Clients()
		if here != 1 || elsewhere != 1 {
			return fmt.Errorf("%d and %d clients are remembered", here, elsewhere)
		}
		return nil
	})
	for len(messages) > 0 {
		if m := <-messages; len(m.Data) > 300<<10 {
			t.Errorf("a message has %d bytes", len(m.Data))
		}
	}
}
