package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack/proc"
)

// Tusd is tusd's own server in a separate process. It stores its uploads on Sori's S3 server.
type Tusd struct {
	URL     string // base URL without a trailing slash; the uploads are at TusdUploads
	process *proc.Process
}

// TusdBucket is the bucket of tusd's uploads.
const TusdBucket = "tusd"

// TusdUploads is the path of tusd's uploads, as in tusd's own command.
const TusdUploads = "/files/"

const (
	tusdReady = time.Minute      // how long tusd may take to start
	tusdLook  = time.Millisecond // pause between two checks whether tusd has started
	tusdStop  = 5 * time.Second
)

// StartTusd starts tusd, which sends recordings to S3 in parts of partSize bytes. program is the path of
// tusd's own command; if it is empty, StartTusd starts this program again (RunTusd).
func (w *Target) StartTusd(ctx context.Context, program string, partSize int64) (*Tusd, error) {
	if w.system == nil {
		return nil, ErrNotOurs
	}
	dir := filepath.Join(w.Dir(), "tusd") // tusd writes each part to a file in this folder before it sends the part
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start tusd: %w", err)
		}
	}
	deps := w.system.Stack.Endpoints
	t := &Tusd{}
	err := proc.WithPort(ctx, proc.Port{}, func(port int) (err error) {
		t.URL = "http://" + proc.Address(port)
		t.process, err = proc.Start(proc.Spec{
			Name: "tusd", Path: program, OnParentDeath: syscall.SIGKILL, Log: zerolog.Nop(),
			Args: []string{
				"-host", proc.Host, "-port", strconv.Itoa(port), "-s3-bucket", TusdBucket,
				"-s3-endpoint", deps.S3Endpoint, "-s3-part-size", strconv.FormatInt(partSize, 10),
			},
			Env: []string{
				"AWS_ACCESS_KEY_ID=" + deps.S3AccessKey, "AWS_SECRET_ACCESS_KEY=" + deps.S3SecretKey, "AWS_REGION=" + deps.S3Region,
				"TMPDIR=" + dir, "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "GOGC=" + os.Getenv("GOGC"), tusdVariable + "=1",
			},
		})
		if err != nil {
			return err
		}
		return t.ready(ctx)
	})
	if err != nil {
		return nil, err
	}
	w.probes = append(w.probes, probe{name: "tusd", pid: t.process.PID})
	return t, nil
}

// ready waits until tusd answers. It stops tusd if it does not.
func (t *Tusd) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tusdReady)
	defer cancel()
	tick := time.NewTicker(tusdLook)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodOptions, t.URL+TusdUploads, http.NoBody)
		if err != nil {
			return fmt.Errorf("start tusd: %w", err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-tick.C:
		case <-t.process.Done():
			return t.process.Err()
		case <-ctx.Done():
			t.Stop(ctx)
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// Stop stops the process, also after ctx has ended.
func (t *Tusd) Stop(ctx context.Context) {
	t.process.Stop(context.WithoutCancel(ctx), proc.Step{Signal: syscall.SIGTERM, Grace: tusdStop})
}
