package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/shared/testkit"
)

func TestTheStreamsOfAnOwnerAreLimitedOverAllGateways(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), crashPatience)
	defer cancel()
	const secret, limit = "secret-of-the-tokens-of-the-test", 3
	c := found(ctx, t, map[string]int{harness.Gateway: 2, harness.Tracker: 2}, map[string]string{"BEHAVIOUR_DELAY": "10m"})
	job := c.uploadAll(ctx, 1)[0] // without credentials, before the gateways authenticate requests
	// An admin may read a job that has no owner.
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "roles": []string{"sori-admin"},
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	var gateways []*client.Client
	for _, p := range c.Processes(harness.Gateway) {
		p.Setenv("AUTH_JWT_SECRET", secret)
		p.Setenv("MAX_STREAMS_PER_PRINCIPAL", fmt.Sprint(limit))
		if err := p.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		gateways = append(gateways, &client.Client{Base: p.URL(), Credential: token})
	}
	open := func(g *client.Client) error {
		stream, err := g.Stream(ctx, job, "", "")
		if err == nil {
			t.Cleanup(func() { _ = stream.Close() })
		}
		return err
	}
	for i := range limit {
		if err := open(gateways[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range gateways {
		testkit.Eventually(t, func() error { return refused(ctx, g, job) })
	}
	c.Process(harness.Gateway, 0).Kill() // two of the streams end with this gateway
	for range 2 {
		testkit.Eventually(t, func() error { return open(gateways[1]) })
	}
	if err := refused(ctx, gateways[1], job); err != nil {
		t.Error(err)
	}
}

// refused returns an error unless a request for a result, which counts as a stream while it is answered,
// exceeds the limit of its client.
func refused(ctx context.Context, g *client.Client, job string) error {
	_, err := g.Job(ctx, job, 0)
	if err == nil {
		return errors.New("the client has fewer streams than its limit")
	}
	if p, answered := errors.AsType[*client.Problem](err); !answered || p.Status != http.StatusTooManyRequests {
		return err
	}
	return nil
}
