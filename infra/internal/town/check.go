package town

import (
	"fmt"
	"os"
	"time"

	"sori.internal/infra/internal/crowd"
	"sori.internal/infra/internal/fleet"
	"sori.internal/shared/testkit"
)

// CheckEnd holds what must be true when all is over: that everything has resumed,
// and then that the crowd's jobs and viewers end as they must and leave nothing.
func (c *Town) CheckEnd(g *crowd.Crowd) {
	c.t.Helper()
	g.AwaitAccepted()
	jobs := g.Disperse()
	c.t.Logf("the uploads: %+v", g.Tally())
	began := time.Now()
	c.CheckJobs(jobs)
	g.AwaitViewers()
	c.t.Logf("all jobs and viewers had ended after %v", time.Since(began).Round(time.Millisecond))
	c.CheckProcesses()
	c.CheckStagingEmpties()
}

// CheckJobs waits for the end of all jobs and holds what must be true then.
func (c *Town) CheckJobs(jobs []string) {
	c.t.Helper()
	rows, err := c.Books.AwaitEnds(c.Ctx, jobs)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, job := range jobs {
		if rows[job].Status != "completed" {
			c.t.Errorf("job %s is %s", job, rows[job].Status)
		}
	}
	if err := c.Books.Check(c.Ctx, jobs, rows); err != nil {
		c.t.Error(err)
	}
}

// The bounds of what an outage may cost a service.
const (
	maxRSS = 200 << 20
	maxLog = 512 << 10
)

// CheckProcesses holds that no process ended, grew or flooded its log.
func (c *Town) CheckProcesses() {
	c.t.Helper()
	select {
	case err := <-c.Fleet.Exited():
		c.t.Error(err)
	default:
	}
	for _, name := range Services() {
		for _, p := range c.Fleet.Processes(name) {
			u, err := p.Usage()
			if err != nil {
				c.t.Error(err)
				continue
			}
			if u.PeakRSS > maxRSS {
				c.t.Errorf("%s grew to %d MiB", p.Name(), u.PeakRSS>>20)
			}
			info, err := os.Stat(p.Log())
			if err != nil {
				c.t.Error(err)
			} else if info.Size() > maxLog {
				c.t.Errorf("%s logged %d bytes", p.Name(), info.Size())
			}
			c.t.Logf("%s: peak %d MiB, log %d bytes, CPU %v", p.Name(), u.PeakRSS>>20, info.Size(), u.CPU)
		}
	}
}

// CheckStagingEmpties sweeps, now that no upload is under way, and looks. A service
// restarts for that: nobody asks for its health any more.
func (c *Town) CheckStagingEmpties() {
	c.t.Helper()
	c.watch.end()
	up := c.Fleet.Process(fleet.Uploader, 0)
	up.Setenv("SWEEP_AGE", "1ms")
	up.Setenv("SWEEP_INTERVAL", "50ms")
	if err := up.Restart(c.Ctx); err != nil {
		c.t.Fatal(err)
	}
	testkit.Eventually(c.t, func() error {
		entries, err := c.Books.Bus.StagedEntries(c.Ctx)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("staging holds %v", entries)
		}
		return err
	})
}
