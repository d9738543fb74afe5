// Package cluster_test runs Sori on a cluster of three NATS servers, with streams
// of three replicas, and takes from it one server at a time while clients upload
// and viewers watch.
package cluster_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"syscall"
	"testing"
	"time"

	"sori.internal/infra/internal/crowd"
	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/town"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// rounds is how often leaders are killed: -rounds=10 tries more of the moments at
// which that can happen.
var rounds = flag.Int("rounds", 1, "how often the leaders are killed")

func TestMain(m *testing.M) { os.Exit(town.Main(m)) }

const (
	nodes     = 3
	patience  = 4 * time.Minute // for a whole test, and each further round
	answersIn = 2 * time.Second // a server that runs
)

// place is a town on a cluster, and the test that harms it.
type place struct {
	*town.Town
	t *testing.T
}

func found(t *testing.T) place {
	t.Helper()
	return place{town.Found(t, town.Options{
		Copies:    map[string]int{fleet.Gateway: 2, fleet.Uploader: 2, fleet.Dispatcher: 2, fleet.Tracker: 2},
		Settings:  map[string]string{"NATS_REPLICAS": "3"},
		NATSNodes: nodes, Patience: time.Duration(*rounds) * patience,
	}), t}
}

// jobsLeader is the server that leads the stream of jobs.
func (c place) jobsLeader() stack.Part {
	c.t.Helper()
	var leader string
	testkit.Eventually(c.t, func() error {
		ctx, cancel := context.WithTimeout(c.Ctx, answersIn) // what is lost with a server is not answered
		defer cancel()
		stream, err := c.Books.JetStream.Stream(ctx, c.Books.Namespace.Stream(event.Jobs().Name))
		if err != nil {
			return err
		}
		if leader = stream.CachedInfo().Cluster.Leader; leader == "" {
			return errors.New("no leader")
		}
		return nil
	})
	return stack.Part(leader)
}

// metaLeader is the server that leads the cluster.
func (c place) metaLeader() stack.Part {
	c.t.Helper()
	leader, err := c.Stack.MetaLeader(c.Ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return leader
}

// kill ends a server as a crash would.
func (c place) kill(part stack.Part) {
	c.t.Helper()
	if err := c.Stack.Signal(part, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	<-c.Stack.Exited()
}

// goOn waits until uploads are accepted again, after what has happened to a server.
func (c place) goOn(g *crowd.Crowd, part stack.Part, happened string) {
	c.t.Helper()
	began := time.Now()
	g.AwaitAccepted()
	c.t.Logf("%s is %s: an upload is accepted after %v", part, happened, time.Since(began).Round(time.Millisecond))
}

// restart starts a server again, stopping it where it runs, and waits until it is
// current.
func (c place) restart(part stack.Part) {
	c.t.Helper()
	began := time.Now()
	if err := c.Stack.Restart(c.Ctx, part); err != nil {
		c.t.Fatal(err)
	}
	if err := c.Stack.AwaitNodes(c.Ctx); err != nil {
		c.t.Fatal(err)
	}
	c.t.Logf("%s is current after %v", part, time.Since(began).Round(time.Millisecond))
}

// end holds what must be true when all is over, and returns the accepted jobs.
func (c place) end(g *crowd.Crowd) []string {
	c.t.Helper()
	c.AwaitReady(true, town.ReturnsIn, town.Services()...)
	c.CheckEnd(g)
	return g.Disperse()
}

func TestKillingTheLeaderUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	c := found(t)
	g := c.Gather()
	for range *rounds {
		for _, leader := range []func() stack.Part{c.jobsLeader, c.metaLeader, c.jobsLeader} {
			g.AwaitAccepted()
			part := leader()
			c.kill(part)
			c.goOn(g, part, "killed")
			c.restart(part)
		}
	}
	c.end(g)
}

// The end is that of two servers. Then an empty one takes the place of the third,
// and another falls: what there is then is on the new one, too.
func TestOneNodeMayBeLostForGood(t *testing.T) {
	t.Parallel()
	c := found(t)
	g := c.Gather()
	g.AwaitAccepted()
	lost := c.jobsLeader()
	if err := c.Stack.Lose(c.Ctx, lost); err != nil {
		t.Fatal(err)
	}
	c.goOn(g, lost, "lost")
	jobs := c.end(g)
	c.restart(lost)
	for i := range nodes {
		if part := stack.Node(i); part != lost {
			c.kill(part)
			break
		}
	}
	c.CheckJobs(jobs)
}

func TestAllNodesMayBeRolled(t *testing.T) {
	t.Parallel()
	c := found(t)
	g := c.Gather()
	for i := range nodes {
		g.AwaitAccepted()
		c.restart(stack.Node(i))
		c.goOn(g, stack.Node(i), "restarted")
	}
	c.end(g)
}
