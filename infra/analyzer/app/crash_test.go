package app_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sori.internal/infra/analyzer/app"
	"sori.internal/shared/testkit"
)

// zeros is an endless reader of zero bytes, which are silent samples.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// serveLong starts a server that sends a plain WAV file of half an hour, and returns its URL. The analysis takes long
// enough for a test to interrupt it.
func serveLong(t *testing.T) string {
	t.Helper()
	const size = 1800 * 16000 * 2
	head := "RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data" +
		string([]byte{size & 0xff, size >> 8 & 0xff, size >> 16 & 0xff, size >> 24})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, head)
		_, _ = io.CopyN(w, zeros{}, size)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// workerOf waits until another process has a file in the folder open, and returns the id of that process: the worker.
func workerOf(t *testing.T, folder string) (pid int) {
	t.Helper()
	testkit.Eventually(t, func() error {
		open, err := filepath.Glob("/proc/[0-9]*/fd/*")
		if err != nil {
			return err
		}
		for _, path := range open {
			if target, err := os.Readlink(path); err != nil || !strings.HasPrefix(target, folder) {
				continue
			}
			if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
				return nil
			}
		}
		return errors.New("no worker reads the recording")
	})
	return pid
}

func TestACrashIsTheFailureOfItsJobAndOtherJobsGoOn(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	server, sink := start(t, func(c *app.Config) { c.TempDir, c.Concurrency = folder, 2 }), newSink(t)
	long := sink.form()
	long.Set("s3_audio_url", serveLong(t))
	post(t, server.URL()+"/analyze", long)
	if err := syscall.Kill(workerOf(t, folder), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	all := sink.awaitOutcomes(1)
	if end := all[len(all)-1]; end["status"] != "failed" || end["code"] != "analysis-crashed" || end["retryable"] != false {
		t.Errorf("the job of the worker: %v", end)
	}
	post(t, server.URL()+"/analyze", sink.form())
	all = sink.awaitOutcomes(1)
	if end := all[len(all)-1]; end["status"] != "completed" {
		t.Errorf("another job: %v", end)
	}
}

func TestACanceledJobEndsWithItsWorker(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	server, sink := start(t, func(c *app.Config) { c.TempDir = folder }), newSink(t)
	long := sink.form()
	long.Set("s3_audio_url", serveLong(t))
	_, _, accepted := post(t, server.URL()+"/analyze", long)
	worker := workerOf(t, folder)
	if code, _, _ := send(t, http.MethodDelete, server.URL()+"/status/"+accepted["job_id"].(string), "", ""); code != http.StatusNoContent {
		t.Errorf("%d", code)
	}
	testkit.Eventually(t, func() error {
		if err := syscall.Kill(worker, 0); err == nil {
			return errors.New("the worker still runs")
		}
		return nil
	})
}
