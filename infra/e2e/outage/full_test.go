package outage_test

import (
	"testing"
	"time"

	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/event"
)

// fillUp uploads until the bus is full and a few times more, and returns the jobs
// that were accepted. None may be refused in any other way.
func (c env) fillUp(client loadgen.Gateways, r loadgen.Recording) []string {
	c.t.Helper()
	const most, more = 2000, 5
	var jobs []string
	for refused, n := 0, 0; refused < more; n++ {
		if n == most {
			c.t.Fatalf("%d uploads did not fill the bus", most)
		}
		job, code, err := client.Upload(c.Ctx, 0, r)
		switch {
		case err != nil:
			c.t.Fatal(err)
		case job != "":
			jobs = append(jobs, job)
		case code != "bus-full":
			c.t.Fatalf("a full bus is told as %q", code)
		default:
			refused++
		}
	}
	return jobs
}

// askAgain is the pause between two tries.
const askAgain = 400 * time.Millisecond

// uploadAgain tries until an upload is accepted.
func (c env) uploadAgain(client loadgen.Gateways, r loadgen.Recording) string {
	c.t.Helper()
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		job, _, err := client.Upload(c.Ctx, 0, r)
		if err != nil {
			c.t.Fatal(err)
		}
		if job != "" {
			return job
		}
		select {
		case <-tick.C:
		case <-c.Ctx.Done():
			c.t.Fatal("the bus stays full")
		}
	}
}

func TestAFullBusPutsUploadsOffAndCompletesTheAcceptedOnceThereIsRoom(t *testing.T) {
	t.Parallel()
	c := found(t, nil, map[string]string{"STAGING_MAX_BYTES": "1048576", "JOBS_MAX_BYTES": "262144", "UPLOAD_RESERVE": "0"})
	client, small := loadgen.Dial(c.Gateways()), loadgen.NewRecording(time.Second)

	// Recordings that S3 does not take fill staging.
	if err := c.Stack.SignalAll(stack.S3, stop); err != nil {
		t.Fatal(err)
	}
	jobs := c.fillUp(client, small)
	staged := len(jobs)
	if err := c.Stack.SignalAll(stack.S3, cont); err != nil {
		t.Fatal(err)
	}
	jobs = append(jobs, c.uploadAgain(client, small))
	c.CheckJobs(jobs)

	// Events fill the log, until whoever runs the bus gives it more room.
	jobs = append(jobs, c.fillUp(client, loadgen.NewRecording(10*time.Millisecond))...)
	js, name := c.Checker.JetStream, c.Checker.Namespace.Stream(event.Jobs().Name)
	stream, err := js.Stream(c.Ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	roomier := stream.CachedInfo().Config
	roomier.MaxBytes *= 16
	if _, err := js.UpdateStream(c.Ctx, roomier); err != nil {
		t.Fatal(err)
	}
	jobs = append(jobs, c.uploadAgain(client, small))
	c.CheckJobs(jobs)
	t.Logf("%d jobs filled staging, %d more the log", staged, len(jobs)-staged)
	c.CheckProcesses()
}

// How far uploads overshoot their limit is a matter of how many come within a
// second: the reserve is ample, since the machine may be quick.
func TestUploadsLeaveTheAcceptedJobsRoomToEnd(t *testing.T) {
	t.Parallel()
	c := found(t, nil, map[string]string{"JOBS_MAX_BYTES": "16777216", "UPLOAD_RESERVE": "0.97"})
	jobs := c.fillUp(loadgen.Dial(c.Gateways()), loadgen.NewRecording(10*time.Millisecond))
	c.CheckJobs(jobs)
	info, err := c.Checker.Bus.Stream(event.Jobs()).Info(c.Ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.Used < 0.03 || info.Used >= 1 {
		t.Errorf("with all jobs ended the log is full to %v", info.Used)
	}
	t.Logf("%d jobs filled the log to %.2f", len(jobs), info.Used)
	c.CheckProcesses()
}
