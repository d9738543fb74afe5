package decode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"sori.internal/shared/decoding"
)

// Patience with a process, beside what a recording may take.
const (
	startPatience = 2 * time.Minute // to compile ffmpeg, where nothing is compiled yet, on a busy machine
	endPatience   = 2 * time.Second // to end by itself
)

// slack is how much longer than its processor time a decode may take: other processes want the processor too.
const slack = 8

// worker is a process that decodes one recording after the other. It is used by one goroutine at a time, kill excepted.
type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File // what frames reads
	frames *decoding.Reader
	stderr *tail
	retire *time.Timer   // ends it when it is idle for too long
	exited chan struct{} // closed once the process is gone
	served int           // requests
}

// launch starts a process and waits until it can decode.
func launch(ctx context.Context, p found, memory int64) (*worker, error) {
	w := &worker{stderr: &tail{}, exited: make(chan struct{})}
	args := []string{"-cache", p.cache, "-memory", strconv.FormatInt(memory, 10)}
	w.cmd = exec.Command(p.path, args...) //nolint:noctx // it outlives the job that starts it
	w.cmd.Env, w.cmd.Stderr = environment(), w.stderr
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the decoder: %w", err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the decoder: %w", err)
	}
	w.in, w.out, w.cmd.Stdout, w.frames = in, out, answers, decoding.NewReader(out)
	if err := w.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the decoder: %w", err), out.Close(), answers.Close())
	}
	_ = answers.Close() // the process has its own
	go func() {
		_ = w.cmd.Wait() // how it ended is told by what it wrote
		close(w.exited)
	}()
	defer context.AfterFunc(ctx, w.kill)()
	defer time.AfterFunc(startPatience, w.kill).Stop()
	if kind, _, err := w.frames.Frame(); err != nil || kind != decoding.TypeReady {
		w.end()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("start the decoder: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("start the decoder: not ready: %w: %s", err, w.stderr)
	}
	return w, nil
}

// environment is empty as far as the system allows: settings and secrets are none of the decoder's business.
func environment() []string {
	env := []string{"GOTRACEBACK=none"}
	for _, name := range []string{"SYSTEMROOT", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// kill ends the process at once. It may be called from anywhere, and again.
func (w *worker) kill() { _ = w.cmd.Process.Kill() } // gone already is as good

// alive tells whether the process still runs.
func (w *worker) alive() bool {
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

// end ends the process and waits until it is gone: it has no more requests, and is killed where that is not enough.
func (w *worker) end() {
	_ = w.in.Close()
	defer time.AfterFunc(endPatience, w.kill).Stop()
	<-w.exited
	_ = w.out.Close()
}

// tail is an io.Writer that keeps the end of a process's stderr, for error messages.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 2048

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// remote is one recording that a worker decodes.
type remote struct {
	decoder *Decoder
	ctx     context.Context //nolint:containedctx // io.Reader's shape; it is the context of Open, for as long as the stream
	worker  *worker
	left    time.Duration // that may still be spent on waiting for the worker
	unhook  func() bool   // from ctx
	block   []float32     // of one frame
	unread  []float32     // the rest of it
	end     decoding.End
	ended   bool // the end came: the worker is fit for the next recording
	failed  error
}

// start has a worker decode a recording, and returns once the header is there. A process that was in use before may have died
// of something else than this recording: then a new one is asked.
func (d *Decoder) start(ctx context.Context, src Source) (Info, sampler, error) {
	for {
		w, err := d.take(ctx)
		if err != nil {
			return Info{}, nil, err
		}
		w.served++
		info, r, err := d.ask(ctx, w, src)
		if err == nil {
			return info, r, nil
		}
		r.close()
		if w.served == 1 || r.ended || !isCrash(err) {
			return Info{}, nil, err
		}
	}
}

func isCrash(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == decoding.CodeCrashed
}

// ask sends a worker its request and reads the header. The remote is to be closed in any case.
func (d *Decoder) ask(ctx context.Context, w *worker, src Source) (Info, *remote, error) {
	limit := allowance(src.Size, d.settings.MaxSeconds)
	r := &remote{
		decoder: d, ctx: ctx, worker: w, left: slack * limit, unhook: context.AfterFunc(ctx, w.kill),
		block: make([]float32, decoding.MaxFrame/4),
	}
	err := decoding.WriteRequest(w.in, decoding.Request{
		Path: src.Path, Format: src.Format, MaxSeconds: d.settings.MaxSeconds + 1, CPUSeconds: limit.Seconds(),
	})
	if err != nil {
		return Info{}, r, r.crashed(err)
	}
	header, err := r.header()
	if err != nil {
		return Info{}, r, err
	}
	return Info{
		Format: container(header.Container, src.Path), Codec: header.Codec, SampleRate: header.SampleRate, Channels: header.Channels,
		Roles: roles(header.Channels, header.Mask), Seconds: header.Seconds,
	}, r, nil
}

// header reads the first frame of an answer.
func (r *remote) header() (h decoding.Header, err error) {
	kind, body, err := r.frame()
	if err != nil {
		return h, err
	}
	if kind == decoding.TypeEnd {
		if err := r.finish(body); !errors.Is(err, io.EOF) {
			return h, err
		}
		return h, failure(decoding.CodeNoAudio, "", nil)
	}
	if kind != decoding.TypeHeader || json.Unmarshal(body, &h) != nil {
		return h, r.crashed(decoding.ErrProtocol)
	}
	if err := h.Check(); err != nil {
		return h, failure(decoding.CodeLimit, "", err)
	}
	return h, nil
}

// read implements sampler.
func (r *remote) read(p []float32) (int, error) {
	for len(r.unread) == 0 {
		if r.failed != nil {
			return 0, r.failed
		}
		kind, body, err := r.frame()
		switch {
		case err != nil:
			r.failed = err
		case kind == decoding.TypeSamples:
			r.unread = r.block[:decoding.Samples(r.block, body)]
		case kind == decoding.TypeEnd:
			r.failed = r.finish(body)
		default:
			r.failed = r.crashed(decoding.ErrProtocol)
		}
	}
	n := copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// frame reads a frame within the time that is left.
func (r *remote) frame() (kind byte, body []byte, err error) {
	began := time.Now()
	timer := time.AfterFunc(r.left, r.worker.kill)
	kind, body, err = r.worker.frames.Frame()
	timer.Stop()
	r.left -= time.Since(began)
	if err != nil {
		return 0, nil, r.crashed(err)
	}
	return kind, body, nil
}

// crashed says why a worker does not answer any more. The cause is told and not wrapped: it may be io.EOF, which means the end
// of the samples to whoever reads them.
func (r *remote) crashed(cause error) error {
	cause = fmt.Errorf("%w: %s: %s", errGone, cause.Error(), r.worker.stderr)
	switch {
	case r.ctx.Err() != nil:
		return fmt.Errorf("decode: %w", context.Cause(r.ctx))
	case r.left <= 0:
		return failure(decoding.CodeLimit, "", cause)
	}
	return failure(decoding.CodeCrashed, "", cause)
}

// finish reads the end of an answer: io.EOF after a success.
func (r *remote) finish(body []byte) error {
	if err := json.Unmarshal(body, &r.end); err != nil {
		return r.crashed(decoding.ErrProtocol)
	}
	r.ended = r.end.Code != decoding.CodeLimit // the worker may have been in the middle of it
	if r.end.Code != "" {
		var said error
		if len(r.end.Complaints) > 0 {
			said = fmt.Errorf("%w: %q", errSaid, r.end.Complaints)
		}
		return failure(r.end.Code, r.end.Found, said)
	}
	return io.EOF
}

// Errors that are followed by text of the decoder: errSaid by its messages, errGone by the end of its stderr.
var (
	errSaid = errors.New("the decoder said")
	errGone = errors.New("the decoder's process does not answer")
)

// close implements sampler. A worker that has not come to its end is killed: it is not worth waiting for.
func (r *remote) close() decoding.End {
	if r.worker == nil {
		return r.end
	}
	intact := r.unhook() // false: the context ended and the worker is being killed
	if !r.ended {
		r.worker.kill()
	}
	r.decoder.give(r.worker, r.ended && intact)
	r.worker = nil
	return r.end
}
