// Package cluster_test runs Sori on a cluster of three NATS servers, with streams of
// three replicas, and stops one server at a time while clients upload and viewers
// watch.
package cluster_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"syscall"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// rounds is how many times leaders are killed. With more rounds, such as -rounds=10, leaders are
// killed at more different times.
var rounds = flag.Int("rounds", 1, "how often the leaders are killed")

func TestMain(m *testing.M) { os.Exit(harnesstest.Main(m)) }

const (
	nodes     = 3
	patience  = 4 * time.Minute // time limit for a test with one round, and for each further round
	answersIn = 2 * time.Second // time limit for an answer of a running server
)

// place is the environment of a test: a system on a cluster.
type place struct {
	*harnesstest.System
	t *testing.T
}

func found(t *testing.T) place {
	t.Helper()
	return place{harnesstest.StartSystem(t, harnesstest.SystemOptions{
		Replicas:  map[string]int{harness.Gateway: 2, harness.Uploader: 2, harness.Dispatcher: 2, harness.Tracker: 2},
		Settings:  map[string]string{"NATS_REPLICAS": "3"},
		NATSNodes: nodes, Patience: time.Duration(*rounds) * patience,
	}), t}
}

// jobsLeader returns the server that is the leader of the job log's stream.
func (c place) jobsLeader() stack.Part {
	c.t.Helper()
	var leader string
	testkit.Eventually(c.t, func() error {
		ctx, cancel := context.WithTimeout(c.Ctx, answersIn) // the limit is for a request that gets no answer because its server fails
		defer cancel()
		stream, err := c.Checker.JetStream.Stream(ctx, c.Checker.Namespace.Stream(event.Jobs().Name))
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

// metaLeader returns the server that is the meta leader of the cluster.
func (c place) metaLeader() stack.Part {
	c.t.Helper()
	leader, err := c.Stack.MetaLeader(c.Ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return leader
}

// kill kills a server with SIGKILL, as a crash would.
func (c place) kill(part stack.Part) {
	c.t.Helper()
	if err := c.Stack.Signal(part, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	<-c.Stack.Exited()
}

// goOn waits until an upload is accepted after a fault of a server, and logs how long that took.
func (c place) goOn(g *loadgen.Steady, part stack.Part, happened string) {
	c.t.Helper()
	began := time.Now()
	g.AwaitAccepted()
	c.t.Logf("%s is %s: an upload is accepted after %v", part, happened, time.Since(began).Round(time.Millisecond))
}

// restart restarts a server, or starts it if it does not run, and waits until all servers
// are current.
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

// end checks the end of a test (harnesstest.System.CheckEnd), and returns the accepted jobs.
func (c place) end(g *loadgen.Steady) []string {
	c.t.Helper()
	c.AwaitReady(true, harnesstest.ReturnsIn, harness.Services()...)
	c.CheckEnd(g)
	return g.Stop()
}

func TestKillingTheLeaderUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	c := found(t)
	g := c.Load()
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

// One server is lost with its data, and all jobs end while the others run. Then an empty server
// replaces the lost one, and another server is killed: the jobs are still complete only if the new
// server has received a copy.
func TestOneNodeMayBeLostForGood(t *testing.T) {
	t.Parallel()
	c := found(t)
	g := c.Load()
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
	g := c.Load()
	for i := range nodes {
		g.AwaitAccepted()
		c.restart(stack.Node(i))
		c.goOn(g, stack.Node(i), "restarted")
	}
	c.end(g)
}
