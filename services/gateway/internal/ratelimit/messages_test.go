package ratelimit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

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
