package outage_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
)

const (
	stop = syscall.SIGSTOP
	cont = syscall.SIGCONT
	kill = syscall.SIGKILL

	deadFor = 2 * time.Second // between a kill and the start
)

func parts() []stack.Part { return []stack.Part{stack.NATS, stack.S3, stack.Postgres} }

// outage is one way in which dependencies go away and come back.
type outage struct {
	name string
	// happen takes the parts away; it must call noticed once they are, and
	// returns when they are back.
	happen func(c *town, noticed func(), parts []stack.Part)
}

func outages() []outage {
	return []outage{
		{"restarted", restarted}, {"killed", killed}, {"paused", paused},
	}
}

// restarted is too quick for anybody to have to notice.
func restarted(c *town, _ func(), parts []stack.Part) { c.each(parts, c.restart) }

func killed(c *town, noticed func(), parts []stack.Part) {
	c.each(parts, func(part stack.Part) error { return c.stack.Signal(part, kill) })
	for range parts { // the stack itself has noticed
		<-c.stack.Exited()
	}
	c.hold(deadFor, noticed)
	for _, part := range parts {
		c.t.Logf("%s is started again", part)
	}
	c.each(parts, c.restart)
}

func paused(c *town, noticed func(), parts []stack.Part) {
	c.each(parts, func(part stack.Part) error { return c.stack.SignalAll(part, stop) })
	c.hold(*pauseFor, noticed)
	c.each(parts, func(part stack.Part) error { return c.stack.SignalAll(part, cont) })
}

func (c *town) restart(part stack.Part) error { return c.stack.Restart(c.ctx, part) }

// each does something to several parts at once.
func (c *town) each(parts []stack.Part, do func(stack.Part) error) {
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

// hold lets an outage last, at least until it was noticed.
func (c *town) hold(length time.Duration, noticed func()) {
	lasts := time.NewTimer(length) // the outage itself: there is nothing to wait for but time
	defer lasts.Stop()
	noticed()
	select {
	case <-lasts.C:
	case <-c.ctx.Done():
		c.t.Fatal(c.ctx.Err())
	}
}

// suffer lets an outage happen to parts and holds what services must say of it.
func (c *town) suffer(g *crowd, o outage, parts []stack.Part) {
	c.t.Helper()
	needing, before := needing(parts...), g.accepted()
	noticed := func() {
		took := c.watch.await(c, false, noticesIn, needing...)
		c.t.Logf("%v %s: noticed after %v", parts, o.name, took.Round(time.Millisecond))
	}
	o.happen(c, noticed, parts)
	took := c.watch.await(c, true, returnsIn, services()...)
	c.t.Logf("%v %s: all are ready again after %v, %d uploads accepted meanwhile",
		parts, o.name, took.Round(time.Millisecond), g.accepted()-before)
}

func TestEveryDependencyMayGoAwayAloneAndComeBack(t *testing.T) {
	t.Parallel()
	c := found(t, map[string]int{fleet.Gateway: 2, fleet.Uploader: 2, fleet.Dispatcher: 2, fleet.Tracker: 2}, nil)
	g := gather(c)
	for _, o := range outages() {
		for _, part := range parts() {
			c.suffer(g, o, []stack.Part{part})
		}
	}
	c.checkEnd(g)
}

func TestAllDependenciesMayGoAwayTogetherAndComeBack(t *testing.T) {
	t.Parallel()
	c := found(t, map[string]int{fleet.Tracker: 2}, nil)
	g := gather(c)
	for _, o := range outages() {
		c.suffer(g, o, parts())
	}
	c.checkEnd(g)
}

// checkEnd holds what must be true when all is over.
func (c *town) checkEnd(g *crowd) {
	c.t.Helper()
	before := g.accepted()
	for g.accepted() == before && c.ctx.Err() == nil { // everything has resumed
		<-time.After(uploadEvery)
	}
	jobs := g.disperse()
	began := time.Now()
	c.checkJobs(jobs)
	g.watching.Wait()
	c.t.Logf("all jobs and viewers had ended after %v", time.Since(began).Round(time.Millisecond))
	c.checkProcesses()
}
