package outage_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
)

const (
	kill = syscall.SIGKILL

	deadFor = 2 * time.Second // time from a kill to the next start
)

// outage is a way in which dependencies become unavailable and available again.
type outage struct {
	name string
	// happen stops the parts, calls noticed unless the outage is too short for
	// the services to notice, and returns when the parts run again.
	happen func(c env, noticed func(), parts []stack.Part)
}

func outages() []outage {
	return []outage{
		{"restarted", restarted}, {"killed", killed}, {"paused", paused},
	}
}

// restarted restarts the parts. It does not call noticed, because a restart is too short.
func restarted(c env, _ func(), parts []stack.Part) { c.forEachPart(parts, c.restart) }

func killed(c env, noticed func(), parts []stack.Part) {
	c.forEachPart(parts, func(part stack.Part) error { return c.Stack.Signal(part, kill) })
	for range parts { // the stack reports the end of each killed part
		<-c.Stack.Exited()
	}
	c.hold(deadFor, noticed)
	for _, part := range parts {
		c.t.Logf("%s is started again", part)
	}
	c.forEachPart(parts, c.restart)
}

func paused(c env, noticed func(), parts []stack.Part) {
	c.forEachPart(parts, c.Stack.PauseAll)
	c.hold(*pauseFor, noticed)
	c.forEachPart(parts, c.Stack.ContinueAll)
}

func (c env) restart(part stack.Part) error { return c.Stack.Restart(c.Ctx, part) }

// forEachPart calls the function do for each part, concurrently.
func (c env) forEachPart(parts []stack.Part, do func(stack.Part) error) {
	c.t.Helper()
	var wg sync.WaitGroup
	failures := make(chan error, len(parts))
	for _, part := range parts {
		wg.Go(func() { failures <- do(part) })
	}
	wg.Wait()
	for range parts {
		if err := <-failures; err != nil {
			c.t.Fatal(err)
		}
	}
}

// hold calls noticed, and returns when the time in length has passed since the call of hold.
func (c env) hold(length time.Duration, noticed func()) {
	lasts := time.NewTimer(length) // a plain timer: there is no signal to wait for
	defer lasts.Stop()
	noticed()
	select {
	case <-lasts.C:
	case <-c.Ctx.Done():
		c.t.Fatal(c.Ctx.Err())
	}
}

// suffer causes an outage of the parts, and checks that the services that need them become not ready, unless the outage is too
// short, and that all become ready again.
func (c env) suffer(g *loadgen.Steady, o outage, parts []stack.Part) {
	c.t.Helper()
	needing, before := needing(parts...), g.Accepted()
	noticed := func() {
		took := c.AwaitReady(false, harnesstest.NoticesIn, needing...)
		c.t.Logf("%v %s: noticed after %v", parts, o.name, took.Round(time.Millisecond))
	}
	o.happen(c, noticed, parts)
	took := c.AwaitReady(true, harnesstest.ReturnsIn, harness.Services()...)
	c.t.Logf("%v %s: all are ready again after %v, %d uploads accepted meanwhile",
		parts, o.name, took.Round(time.Millisecond), g.Accepted()-before)
}

func TestEveryDependencyMayGoAwayAloneAndComeBack(t *testing.T) {
	t.Parallel()
	c := found(t, map[string]int{harness.Gateway: 2, harness.Uploader: 2, harness.Dispatcher: 2, harness.Tracker: 2},
		map[string]string{"S3_STALL_TIMEOUT": "2s"}) // shorter than the pause, so that copies to S3 time out
	g := c.Load()
	for _, o := range outages() {
		for _, part := range parts() {
			c.suffer(g, o, []stack.Part{part})
		}
	}
	c.CheckEnd(g)
}

func TestAllDependenciesMayGoAwayTogetherAndComeBack(t *testing.T) {
	t.Parallel()
	c := found(t, map[string]int{harness.Tracker: 2}, nil)
	g := c.Load()
	for _, o := range outages() {
		c.suffer(g, o, parts())
	}
	c.CheckEnd(g)
}
