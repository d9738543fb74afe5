package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
)

// leastWithKeys is the bound for the rate of authenticated uploads, as a share of the rate without authentication.
const leastWithKeys = 0.95

// access measures what authentication costs: rounds of uploads with an API key, and rounds at a gateway that
// does not authenticate requests.
func access(ctx context.Context, b *Bench) (err error) {
	size := b.Size.or(Size{Jobs: 6000, Concurrent: 32, Bytes: 100_000})
	key, err := b.Target.APIKey(ctx, "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.authenticate(context.WithoutCancel(ctx), false)) }()
	// Whether the requests of each round have a key. In this order, a machine that becomes slower or faster affects
	// both kinds of rounds equally.
	withKey := []bool{false, true, true, false, false, true}
	size.Jobs = max(size.Jobs/len(withKey), 1)
	var took, took99 [2]time.Duration // [0] without keys, [1] with keys: the duration of all uploads, and the sum of the 99th percentiles
	for _, with := range withKey {
		b.Say("access: %d uploads of %d bytes, %d at a time, with a key: %t", size.Jobs, size.Bytes, size.Concurrent, with)
		r, err := b.accessRound(ctx, size, key, with)
		if err != nil {
			return err
		}
		i := 0
		if with {
			i = 1
		}
		took[i] += r.acked.Sub(r.began)
		took99[i] += r.acks.Percentile(99)
	}
	rounds := len(withKey) / 2
	rate := func(i int) float64 { return float64(rounds*size.Jobs) / took[i].Seconds() }
	const name = "access"
	b.add(Figure{Scenario: name, Name: "uploads acknowledged without authentication", Value: rate(0), Unit: "/s"})
	b.add(Figure{Scenario: name, Name: "uploads acknowledged with an API key", Value: rate(1), Unit: "/s"})
	b.add(Figure{Scenario: name, Name: "with a key, of those without", Value: rate(1) / rate(0), Bound: Bound{AtLeast: leastWithKeys}})
	for i, what := range []string{"without authentication", "with an API key"} {
		mean := took99[i] / time.Duration(rounds)
		b.add(milliseconds(name, fmt.Sprintf("upload acknowledged p99 %s", what), mean, Bound{}))
	}
	return nil
}

// accessRound restarts the gateway, and uploads the recordings of one round.
func (b *Bench) accessRound(ctx context.Context, size Size, key string, with bool) (*run, error) {
	if err := b.authenticate(ctx, with); err != nil {
		return nil, err
	}
	api := b.Target.Client(size.Concurrent)
	defer api.Close()
	if with {
		api.Credential = key
	}
	if err := b.refusesWithoutKey(ctx, with); err != nil {
		return nil, err
	}
	if err := b.warmUp(ctx, api, min(size.Concurrent, size.Jobs), size.Bytes); err != nil {
		return nil, err
	}
	return b.upload(ctx, api, size)
}

// authenticate restarts the gateway so that it authenticates requests, or does not. The gateway then has no limits
// for each client, since all uploads are of one client.
func (b *Bench) authenticate(ctx context.Context, on bool) error {
	return b.Target.Restart(ctx, map[string]string{
		"AUTH_API_KEYS": fmt.Sprint(on), "RATE_LIMIT_PER_PRINCIPAL": "0", "MAX_UPLOADS_PER_PRINCIPAL": "0", "MAX_STREAMS_PER_PRINCIPAL": "0",
	}, harness.Gateway)
}

var errNotAuthenticated = errors.New("the gateway does not authenticate requests as it was set")

// refusesWithoutKey checks that the gateway authenticates requests if and only if it should.
func (b *Bench) refusesWithoutKey(ctx context.Context, should bool) error {
	nobody := b.Target.Client(1)
	defer nobody.Close()
	_, err := nobody.Do(ctx, client.Request{Path: "/jobs/?limit=1"})
	if refused := err != nil; refused != should {
		return fmt.Errorf("%w: a request without a key was refused: %t", errNotAuthenticated, refused)
	}
	return nil
}
