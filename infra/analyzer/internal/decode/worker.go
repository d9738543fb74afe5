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

// Time limits for a process, in addition to those of a recording.
const (
	startPatience = 2 * time.Minute // time to compile ffmpeg, if it is not compiled yet, on a busy machine
	endPatience   = 2 * time.Second // time in which a process must end by itself
)

// slack is how many times longer than its processor time a decode may take, since other processes use the processor,
// too.
const slack = 8

// worker is a process that decodes one recording after the other. Only one goroutine may use it at a time, but kill may
// be called from any.
type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File // the pipe that frames reads
	frames *decoding.Reader
	stderr *tail
	retire *time.Timer   // ends the process when it has been idle for too long
	exited chan struct{} // closed when the process has ended
	served int           // number of requests
}

// launch starts a process and waits until it can decode.
func launch(ctx context.Context, p found, memory int64) (*worker, error) {
	w := &worker{stderr: &tail{}, exited: make(chan struct{})}
	args := []string{"-cache", p.cache, "-memory", strconv.FormatInt(memory, 10)}
	w.cmd = exec.Command(p.path, args...) //nolint:noctx // the process outlives the job that starts it
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
	_ = answers.Close() // the process has its own copy
	go func() {
		_ = w.cmd.Wait() // the process's output shows how it ended
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

// environment returns an environment that is as small as the system allows: the decoder must not get settings and
// secrets.
func environment() []string {
	env := []string{"GOTRACEBACK=none"}
	for _, name := range []string{"SYSTEMROOT", "TMPDIR", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// kill ends the process at once. It may be called from any goroutine, and repeatedly.
func (w *worker) kill() { _ = w.cmd.Process.Kill() } // an error means that the process has ended already

// alive reports whether the process is still running.
func (w *worker) alive() bool {
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

// end closes the standard input of the process, so that it ends, and waits for its end. If that takes too long, it
// kills the process.
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

// String returns the text that was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// remote is one recording that a worker decodes.
type remote struct {
	decoder *Decoder
	ctx     context.Context //nolint:containedctx // it is the context of Open and lives as long as the stream
	worker  *worker
	left    time.Duration // time that may still be spent waiting for the worker
	unhook  func() bool   // ends the effect of ctx on the worker
	block   []float32     // samples of one frame
	unread  []float32     // the unread part of block
	end     decoding.End
	ended   bool // the end of the answer was read: the worker is fit for the next recording
	failed  error
}

// start makes a worker decode a recording, and returns when it has read the header. A process that was used before may
// have died of another cause than this recording: then start tries another process.
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

// ask sends a request to a worker and reads the header of the answer. The caller must close the remote in any case.
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

// frame reads a frame within the remaining time.
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

// crashed returns the error of a worker that does not answer any more. It includes the text of the cause but does not
// wrap it: the cause may be io.EOF, which means the end of the samples to readers.
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

// finish reads the end of an answer. It returns io.EOF after a success.
func (r *remote) finish(body []byte) error {
	if err := json.Unmarshal(body, &r.end); err != nil {
		return r.crashed(decoding.ErrProtocol)
	}
	r.ended = r.end.Code != decoding.CodeLimit // with this code the process may have ended
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

// close implements sampler. It kills a worker whose answer has not ended, since waiting for the end is not worthwhile.
func (r *remote) close() decoding.End {
	if r.worker == nil {
		return r.end
	}
	intact := r.unhook() // false if ctx has ended: then the worker is being killed
	if !r.ended {
		r.worker.kill()
	}
	r.decoder.give(r.worker, r.ended && intact)
	r.worker = nil
	return r.end
}
