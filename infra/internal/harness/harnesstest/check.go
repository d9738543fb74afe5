package harnesstest

import (
	"os"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/invariants"
	"sori.internal/infra/internal/loadgen"
)

// CheckEnd waits until one more upload is accepted and stops the load. Then it checks that all jobs of the
// load are completed, that the invariants hold, that every viewer has seen the end of its job, that the
// processes are healthy, and that staging becomes empty.
func (s *System) CheckEnd(g *loadgen.Steady) {
	s.t.Helper()
	g.AwaitAccepted()
	jobs := g.Stop()
	s.t.Logf("the uploads: %+v", g.Tally())
	began := time.Now()
	s.CheckJobs(jobs)
	g.AwaitViewers()
	s.t.Logf("all jobs and viewers had ended after %v", time.Since(began).Round(time.Millisecond))
	s.CheckProcesses()
	s.CheckStaging()
}

// CheckJobs waits until all jobs have ended, and checks that the given jobs are completed and that
// the invariants hold.
func (s *System) CheckJobs(jobs []string) map[string]invariants.Row {
	s.t.Helper()
	rows := s.AwaitEnds(jobs)
	for _, job := range jobs {
		if rows[job].Status != client.Completed {
			s.t.Errorf("job %s is %s", job, rows[job].Status)
		}
	}
	s.CheckInvariants(jobs, rows)
	return rows
}

// AwaitEnds waits until the job of every row has ended and every given job has a row, and returns the rows.
func (s *System) AwaitEnds(jobs []string) map[string]invariants.Row {
	s.t.Helper()
	rows, err := s.Checker.AwaitEnds(s.Ctx, jobs)
	if err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// CheckInvariants checks the invariants of ended jobs (invariants.Checker.Check).
func (s *System) CheckInvariants(jobs []string, rows map[string]invariants.Row) {
	s.t.Helper()
	if err := s.Checker.Check(s.Ctx, jobs, rows); err != nil {
		s.t.Error(err)
	}
}

// The limits, in bytes, for a service in an outage.
const (
	maxRSS = 200 << 20
	maxLog = 512 << 10
)

// CheckProcesses checks that no process has ended by itself, used more memory than 200 MiB or logged more than 512
// KiB.
func (s *System) CheckProcesses() {
	s.t.Helper()
	select {
	case err := <-s.Exited():
		s.t.Error(err)
	default:
	}
	for _, p := range s.All() {
		u, err := p.Usage()
		if err != nil {
			s.t.Error(err)
			continue
		}
		if u.PeakRSS > maxRSS {
			s.t.Errorf("%s grew to %d MiB", p.Name(), u.PeakRSS>>20)
		}
		info, err := os.Stat(p.Log())
		if err != nil {
			s.t.Error(err)
			continue
		}
		if info.Size() > maxLog {
			s.t.Errorf("%s logged %d bytes", p.Name(), info.Size())
		}
		s.t.Logf("%s: peak %d MiB, log %d bytes, CPU %v", p.Name(), u.PeakRSS>>20, info.Size(), u.CPU)
	}
}

// CheckStaging checks that staging becomes empty. No upload may be under way. CheckStaging stops polling
// the health routes and restarts the uploader.
func (s *System) CheckStaging() {
	s.t.Helper()
	if s.health != nil {
		s.health.end()
	}
	if err := s.Checker.AwaitStagingEmpty(s.Ctx, s.Process(harness.Uploader, 0)); err != nil {
		s.t.Error(err)
	}
}
