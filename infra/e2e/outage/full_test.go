package outage_test

import (
	"net/http"
	"testing"
	"time"

	"sori.internal/infra/internal/fleet"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/event"
)

// fillUp uploads until the bus is full and a few times more, and returns the jobs
// that were accepted. None may be refused in any other way.
func (g *crowd) fillUp(u upload) []string {
	g.c.t.Helper()
	const most, more = 500, 5
	var jobs []string
	for refused, n := 0, 0; refused < more; n++ {
		if n == most {
			g.c.t.Fatalf("%d uploads did not fill the bus", most)
		}
		job, code, err := g.send(g.c.ctx, g.c.fleet.URL(fleet.Gateway), u)
		switch {
		case err != nil:
			g.c.t.Fatal(err)
		case job != "":
			jobs = append(jobs, job)
		case code != "bus-full":
			g.c.t.Fatalf("a full bus is told as %q", code)
		default:
			refused++
		}
	}
	return jobs
}

// uploadAgain tries until an upload is accepted.
func (g *crowd) uploadAgain(u upload) string {
	g.c.t.Helper()
	tick := time.NewTicker(uploadEvery)
	defer tick.Stop()
	for {
		job, _, err := g.send(g.c.ctx, g.c.fleet.URL(fleet.Gateway), u)
		if err != nil {
			g.c.t.Fatal(err)
		}
		if job != "" {
			return job
		}
		select {
		case <-tick.C:
		case <-g.c.ctx.Done():
			g.c.t.Fatal("the bus stays full")
		}
	}
}

func TestAFullBusPutsUploadsOffAndCompletesTheAcceptedOnceThereIsRoom(t *testing.T) {
	t.Parallel()
	c := found(t, nil, map[string]string{"STAGING_MAX_BYTES": "1048576", "JOBS_MAX_BYTES": "262144"})
	g := &crowd{c: c, http: http.DefaultClient, small: newUpload(time.Second)}

	// Recordings that S3 does not take fill staging.
	if err := c.stack.SignalAll(stack.S3, stop); err != nil {
		t.Fatal(err)
	}
	jobs := g.fillUp(g.small)
	staged := len(jobs)
	if err := c.stack.SignalAll(stack.S3, cont); err != nil {
		t.Fatal(err)
	}
	jobs = append(jobs, g.uploadAgain(g.small))
	c.checkJobs(jobs)

	// Events fill the log, until whoever runs the bus gives it more room.
	jobs = append(jobs, g.fillUp(newUpload(10*time.Millisecond))...)
	js, name := c.books.JetStream, c.books.Namespace.Stream(event.Jobs().Name)
	stream, err := js.Stream(c.ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	roomier := stream.CachedInfo().Config
	roomier.MaxBytes *= 16
	if _, err := js.UpdateStream(c.ctx, roomier); err != nil {
		t.Fatal(err)
	}
	jobs = append(jobs, g.uploadAgain(g.small))
	c.checkJobs(jobs)
	t.Logf("%d jobs filled staging, %d more the log", staged, len(jobs)-staged)
	c.checkProcesses()
}
