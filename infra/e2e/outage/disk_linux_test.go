package outage_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sori.internal/infra/internal/harness"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/infra/internal/stack"
)

// limitFiles limits the size of the files that NATS may write: as on a full disk, a
// write beyond the limit fails in the middle.
func (c env) limitFiles(size uint64) {
	c.t.Helper()
	pid := c.Stack.PID(stack.NATS)
	var limit unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &limit)
	if err == nil {
		limit.Cur = min(size, limit.Max)
		err = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// After a failed write a NATS server does not write any more, and does not answer publish
// requests until it is restarted, although it answers everything else. So the services
// must report that they are not ready.
func TestAFullDiskUnderTheBusPutsUploadsOffAndLosesNoAcceptedJob(t *testing.T) {
	t.Parallel()
	c := found(t, nil, nil)
	client, small := loadgen.Dial(c.Gateways()), loadgen.NewRecording(time.Second)
	if err := c.Stack.PauseAll(stack.S3); err != nil { // so that staging is not emptied
		t.Fatal(err)
	}
	c.limitFiles(512 << 10)
	var jobs []string
	for n, refused := 0, false; !refused; n++ {
		if n == 100 {
			t.Fatalf("%d uploads did not fill the disk", n)
		}
		began := time.Now()
		job, code, err := client.Upload(c.Ctx, 0, small)
		if took := time.Since(began); took > loadgen.UploadTakes {
			t.Errorf("an upload took %v", took)
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case job != "":
			jobs = append(jobs, job)
		default:
			t.Logf("after %d uploads: %s in %v", n, code, time.Since(began))
			refused = true
		}
	}
	t.Logf("noticed after %v", c.AwaitReady(false, harnesstest.NoticesIn, harness.Services()...))
	if err := c.Stack.ContinueAll(stack.S3); err != nil {
		t.Fatal(err)
	}
	if err := c.restart(stack.NATS); err != nil { // the new process has no limit
		t.Fatal(err)
	}
	c.AwaitReady(true, harnesstest.ReturnsIn, harness.Services()...)
	jobs = append(jobs, c.uploadAgain(client, small))
	c.CheckJobs(jobs)
	c.CheckProcesses()
}
