package outage_test

import (
	"testing"
	"time"

	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/event"
)

// fillUp uploads until several uploads were refused because NATS is full, and returns the
// jobs that were accepted. A refusal with another code is a failure.
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

// askAgain is the pause between two uploads in uploadAgain.
const askAgain = 400 * time.Millisecond

// uploadAgain repeats an upload until it is accepted, and returns the job.
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

	// While S3 is paused, recordings fill staging.
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

	// Events fill the log. Then the limit of its stream is raised, as an operator would do.
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

// The uploads of about one second may exceed their limit. The reserve is large, so that
// this does not matter on a fast machine.
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
