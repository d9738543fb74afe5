package decode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"sori.internal/infra/analyzer/internal/child"
	"sori.internal/shared/decoding"
)

// startPatience is how long a new process may take until it is ready. On a busy machine it may have to compile ffmpeg
// first.
const startPatience = 2 * time.Minute

// slack is the largest ratio of the total time of a decode to its permitted processor time. The total time is longer,
// since other processes use the processor, too.
const slack = 8

// worker is a process that decodes one recording after the other. Only one goroutine may use it at a time, but Kill may
// be called from any goroutine.
type worker struct {
	*child.Process
	frames *decoding.Reader
	served int // number of requests
}

// launch starts a process and waits until the process is ready.
func launch(ctx context.Context, p Found, settings Settings) (*worker, error) {
	process, err := child.Start(child.Spec{
		Path: p.Path, Args: []string{"-cache", p.Cache, "-memory", strconv.FormatInt(settings.Memory, 10)}, Run: settings.Run,
	})
	if err != nil {
		return nil, fmt.Errorf("start the decoder: %w", err)
	}
	w := &worker{Process: process, frames: decoding.NewReader(process.Out)}
	defer context.AfterFunc(ctx, w.Kill)()
	defer time.AfterFunc(startPatience, w.Kill).Stop()
	if kind, _, err := w.frames.Frame(); err != nil || kind != decoding.TypeReady {
		w.End()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("start the decoder: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("start the decoder: not ready: %w: %s", err, w.Stderr())
	}
	return w, nil
}

// remote is a sampler that receives the samples of one recording from a worker.
type remote struct {
	decoder *Decoder
	ctx     context.Context //nolint:containedctx // the context of Open, used as long as the stream is open
	worker  *worker
	left    time.Duration // time that the stream may still spend waiting for the worker
	unhook  func() bool   // cancels the callback that kills the worker when ctx ends
	block   []float32     // buffer for the samples of one protocol frame
	unread  []float32     // samples in block that read has not returned yet
	end     decoding.End
	ended   bool // the last frame of the answer was read, so the worker can decode the next recording
	failed  error
}

// start sends a recording to a worker, and returns when the header of the answer has been read. If a worker that has
// decoded other recordings before crashes, this recording need not be the cause: start tries another worker.
func (d *Decoder) start(ctx context.Context, src Source) (Info, sampler, error) {
	for {
		w, err := d.pool.Take(ctx)
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

// ask sends a request to a worker and reads the header of the answer. The caller must close the remote, even after an
// error.
func (d *Decoder) ask(ctx context.Context, w *worker, src Source) (Info, *remote, error) {
	limit := Allowance(src.Size, d.settings.MaxSeconds)
	r := &remote{
		decoder: d, ctx: ctx, worker: w, left: slack * limit, unhook: context.AfterFunc(ctx, w.Kill),
		block: make([]float32, decoding.MaxFrame/4),
	}
	err := decoding.WriteRequest(w.In, decoding.Request{
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

// header reads the first frame of an answer: the header, or the end if the recording cannot be decoded.
func (r *remote) header() (h decoding.Header, err error) {
	kind, body, err := r.frame()
	if err != nil {
		return h, err
	}
	if kind == decoding.TypeEnd {
		if err := r.finish(body); !errors.Is(err, io.EOF) {
			return h, err
		}
		return h, Failure(decoding.CodeNoAudio, nil)
	}
	if kind != decoding.TypeHeader || json.Unmarshal(body, &h) != nil {
		return h, r.crashed(decoding.ErrProtocol)
	}
	if err := h.Check(); err != nil {
		return h, Failure(decoding.CodeLimit, err)
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

// frame reads one frame of the answer. If this takes longer than r.left, frame kills the worker.
func (r *remote) frame() (kind byte, body []byte, err error) {
	began := time.Now()
	timer := time.AfterFunc(r.left, r.worker.Kill)
	kind, body, err = r.worker.frames.Frame()
	timer.Stop()
	r.left -= time.Since(began)
	if err != nil {
		return 0, nil, r.crashed(err)
	}
	return kind, body, nil
}

// crashed returns the error for a worker that no longer answers. The error includes the text of cause but does not wrap
// cause, which may be io.EOF: readers take io.EOF as the end of the samples.
func (r *remote) crashed(cause error) error {
	cause = fmt.Errorf("%w: %s: %s", errGone, cause.Error(), r.worker.Stderr())
	switch {
	case r.ctx.Err() != nil:
		return fmt.Errorf("decode: %w", context.Cause(r.ctx))
	case r.left <= 0:
		return Failure(decoding.CodeLimit, cause)
	}
	return Failure(decoding.CodeCrashed, cause)
}

// finish parses the last frame of an answer. It returns io.EOF if the recording was decoded to its end, and otherwise
// an error.
func (r *remote) finish(body []byte) error {
	if err := json.Unmarshal(body, &r.end); err != nil {
		return r.crashed(decoding.ErrProtocol)
	}
	r.ended = r.end.Code != decoding.CodeLimit // a worker may exit after CodeLimit
	if r.end.Code != "" {
		var said error
		if len(r.end.Complaints) > 0 {
			said = fmt.Errorf("%w: %q", errSaid, r.end.Complaints)
		}
		failure := Failure(r.end.Code, said)
		if r.end.Code == decoding.CodeUnsupportedCodec && r.end.Found != "" {
			failure.Detail = fmt.Sprintf("The recording's codec, %.40q, cannot be decoded.", r.end.Found)
		}
		return failure
	}
	return io.EOF
}

// Errors that are followed by text of the decoder: errSaid by the decoder's messages, errGone by the end of the
// decoder's stderr.
var (
	errSaid = errors.New("the decoder said")
	errGone = errors.New("the decoder's process does not answer")
)

// close implements sampler. It kills a worker that is still answering, since reading the rest of the answer is not
// worthwhile.
func (r *remote) close() decoding.End {
	if r.worker == nil {
		return r.end
	}
	intact := r.unhook() // false if ctx has ended and the worker is being killed
	if !r.ended {
		r.worker.Kill()
	}
	r.decoder.pool.Give(r.worker, r.ended && intact)
	r.worker = nil
	return r.end
}
