package outage_test

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
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
	if err := c.Stack.PauseAll(stack.S3); err != nil {
		t.Fatal(err)
	}
	jobs := c.fillUp(client, small)
	staged := len(jobs)
	if err := c.Stack.ContinueAll(stack.S3); err != nil {
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

// The gateways learn with a delay of about a second that uploads have used their share of the log, and
// then uploads exceed it. The large reserve makes room for that, also on a fast machine.
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

// seenFull matches the metrics of a gateway that has seen that the log is used to 90 % or more.
var seenFull = regexp.MustCompile(`(?m)^sori_log_full_ratio(\{[^}]*\})? (0\.9|1)`)

// limitLog sets the limit of the log so that the log is full to the given fraction.
func (c env) limitLog(used float64) {
	c.t.Helper()
	js, name := c.Checker.JetStream, c.Checker.Namespace.Stream(event.Jobs().Name)
	stream, err := js.Stream(c.Ctx, name)
	if err != nil {
		c.t.Fatal(err)
	}
	info := stream.CachedInfo()
	info.Config.MaxBytes = int64(float64(info.State.Bytes) / used)
	if _, err := js.UpdateStream(c.Ctx, info.Config); err != nil {
		c.t.Fatal(err)
	}
}

// untilRefused waits until the first gateway has seen that 90 % of the log are used, so that it refuses
// uploads (UPLOAD_RESERVE is 0.1). Until then it would accept uploads, and their events would fill the
// reserve, which is small in this test.
func (c env) untilRefused() {
	c.t.Helper()
	testkit.Eventually(c.t, func() error {
		req, err := http.NewRequestWithContext(c.Ctx, http.MethodGet, c.Process(harness.Gateway, 0).Admin()+"/metrics", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if !seenFull.Match(text) {
			return errors.New("the gateway has not seen that the log is full")
		}
		return nil
	})
}

func TestJobsCanBeCanceledAndErasedWhenTheLogIsAsFullAsUploadsMayMakeIt(t *testing.T) {
	t.Parallel()
	c := found(t, nil, map[string]string{"UPLOAD_RESERVE": "0.1"})
	gateways, small := loadgen.Dial(c.Gateways()), loadgen.NewRecording(10*time.Millisecond)
	const enough = 30 // number of jobs: their events take much more space than the events that follow in this test
	var ended []string
	for range enough {
		ended = append(ended, c.uploadAgain(gateways, small))
	}
	c.CheckJobs(ended)
	if err := c.Stack.PauseAll(stack.S3); err != nil {
		t.Fatal(err)
	}
	active := []string{c.uploadAgain(gateways, small), c.uploadAgain(gateways, small)}
	c.limitLog(0.93)
	c.untilRefused()
	if job, code, err := gateways.Upload(c.Ctx, 0, small); err != nil || code != "bus-full" {
		t.Errorf("an upload is answered with %q %q, %v", job, code, err)
	}

	one := gateways[0]
	if err := one.Control(c.Ctx, active[0], "cancel", false); err != nil {
		t.Errorf("cancel: %v", err)
	}
	for _, job := range []string{active[1], ended[0]} {
		if err := one.Erase(c.Ctx, job); err != nil {
			t.Errorf("erase: %v", err)
		}
	}
	if err := c.Stack.ContinueAll(stack.S3); err != nil {
		t.Fatal(err)
	}
	for _, job := range ended[1:] { // the erasures free space as soon as the uploader has removed the logs
		testkit.Eventually(t, func() error { return one.Erase(c.Ctx, job) })
	}
	next := c.uploadAgain(gateways, small)
	rows := c.AwaitEnds([]string{next, active[0]})
	for job, want := range map[string]string{next: "completed", active[0]: "canceled", active[1]: "erased", ended[0]: "erased"} {
		if rows[job].Status != want {
			t.Errorf("job %s is %s, want %s", job, rows[job].Status, want)
		}
	}
	c.CheckProcesses()
}
