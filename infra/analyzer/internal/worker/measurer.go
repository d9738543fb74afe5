package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"sori.internal/infra/analyzer/internal/child"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/shared/decoding"
)

// idleTime is how long a worker without a recording is kept.
const idleTime = time.Minute

// usualSlack is the largest ratio of the total time of an analysis to its permitted processor time. The total time is
// longer, since other processes use the processor, too.
const usualSlack = 8

// Settings limit a Measurer.
type Settings struct {
	Program        string          // path of a worker program, whose main calls RunChild; if empty, the path of this program
	Processes      int             // largest number of recordings that are analysed at the same time
	Decoder        *decode.Program // finds the decoder program
	DecoderMemory  int64           // largest memory of the decoder for one recording, in bytes
	MaxSeconds     float64         // longest duration of a recording that is accepted
	MaxPitchPoints int             // largest number of values in the pitch track of a result
}

// Recording names the files that a worker analyses.
type Recording struct {
	Path      string   // path of a regular file
	Size      int64    // size in bytes
	Reference string   // path of the pitch reference; empty if there is none
	Warnings  []string // warnings to add to the result
}

// Measurer passes recordings to workers, which analyse them. It is safe for concurrent use.
type Measurer struct {
	settings Settings
	slack    float64
	pool     *child.Pool[*process]
}

// New returns a Measurer. It starts no worker.
func New(settings Settings) *Measurer {
	m := &Measurer{settings: settings, slack: usualSlack}
	m.pool = child.NewPool(settings.Processes, idleTime, m.launch)
	return m
}

// Close ends the idle workers. A worker that is analysing a recording ends after this analysis.
func (m *Measurer) Close() { m.pool.Close() }

// process is a running worker.
type process struct {
	*child.Process
	answers *bufio.Scanner
	served  int // number of requests
}

// Errors of this package. errNotHooked keeps a worker whose main does not call RunChild from starting workers
// endlessly.
var (
	errNotHooked = errors.New("this process is a worker: main must call RunChild before anything else")
	errGone      = errors.New("the worker does not answer")
	errUnseen    = errors.New("the worker ended before it read the recording")
	errFailed    = errors.New("analysis failed")
)

// launch starts a worker.
func (m *Measurer) launch(context.Context) (*process, error) {
	if os.Getenv(roleVariable) != "" {
		return nil, fmt.Errorf("start a worker: %w", errNotHooked)
	}
	path := m.settings.Program
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("start a worker: %w", err)
		}
	}
	started, err := child.Start(child.Spec{Path: path, Env: []string{roleVariable + "=1"}})
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	p := &process{Process: started, answers: bufio.NewScanner(started.Out)}
	p.answers.Buffer(nil, maxAnswer)
	return p, nil
}

// Measure analyses a recording and returns its result as JSON. A *decode.Error means that the recording is the cause of
// the failure. Measure calls progress with 0 when a worker begins, and then with the fraction of the recording that was
// analysed.
func (m *Measurer) Measure(ctx context.Context, r Recording, progress func(float64)) (json.RawMessage, error) {
	req, err := m.request(ctx, r)
	if err != nil {
		return nil, err
	}
	for {
		p, err := m.pool.Take(ctx)
		if err != nil {
			return nil, err
		}
		p.served++
		fresh := p.served == 1
		result, fit, err := m.exchange(ctx, p, req, progress)
		m.pool.Give(p, fit) // from now on another job may use the worker
		// An idle worker may have died before it read the request. Then the recording is not the cause, and another worker
		// gets it.
		if fresh || !errors.Is(err, errUnseen) {
			return result, err
		}
	}
}

// request returns the request for a recording. If the recording needs the decoder program, it waits until the program
// is built.
func (m *Measurer) request(ctx context.Context, r Recording) (request, error) {
	req := request{
		Path: r.Path, Size: r.Size, Reference: r.Reference, Warnings: r.Warnings,
		DecoderMemory: m.settings.DecoderMemory, MaxSeconds: m.settings.MaxSeconds, MaxPitchPoints: m.settings.MaxPitchPoints,
		Memory: memory(m.settings.MaxSeconds), CPUSeconds: allowance(decode.MaxSamples(r.Size, m.settings.MaxSeconds)).Seconds(),
	}
	plain, err := decode.IsPlain(r.Path)
	if err != nil || plain {
		return req, err
	}
	found, err := m.settings.Decoder.Find(ctx)
	req.Decoder, req.DecoderCache = found.Path, found.Cache
	return req, err
}

// exchange sends a request to a worker and reads the answer. fit is true if the worker can get another request.
func (m *Measurer) exchange(ctx context.Context, p *process, req request, progress func(float64)) (result json.RawMessage, fit bool, err error) {
	unhook := context.AfterFunc(ctx, p.Kill)
	var late atomic.Bool
	limit := m.slack * (req.CPUSeconds + decode.Allowance(req.Size, req.MaxSeconds).Seconds())
	defer time.AfterFunc(time.Duration(limit*float64(time.Second)), func() { late.Store(true); p.Kill() }).Stop()

	last, seen := p.ask(req, progress)
	alive := unhook() // false if ctx has ended and the worker is being killed
	if last != nil {
		return last.Result, last.Ended && alive, last.err()
	}
	p.Kill()
	<-p.Exited() // so that the stderr of the process is complete
	cause := fmt.Errorf("%w: %s", errGone, p.Stderr())
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("analyse: %w", context.Cause(ctx))
	case late.Load():
		err = decode.Failure(decoding.CodeLimit, cause)
	case !seen:
		err = fmt.Errorf("%w: %w", errUnseen, cause)
	default:
		err = decode.Failure(decoding.CodeCrashed, cause)
	}
	return nil, false, err
}

// ask sends a request and returns the last line of the answer, or nil if the worker ended before that line. seen is
// true if the worker has begun with the recording.
func (p *process) ask(req request, progress func(float64)) (last *answer, seen bool) {
	line, err := json.Marshal(req)
	if err != nil {
		return nil, false
	}
	_, _ = p.In.Write(append(line, '\n')) // fails if the worker has ended; then reading the answer fails, too
	for p.answers.Scan() {
		var a answer
		if json.Unmarshal(p.answers.Bytes(), &a) != nil {
			return nil, seen
		}
		switch {
		case a.Begun:
			seen = true
			progress(0)
		case a.Progress > 0:
			progress(a.Progress)
		default:
			return &a, seen
		}
	}
	return nil, seen
}

// err returns the error of the last line of an answer, or nil if the line contains a result.
func (a *answer) err() error {
	switch {
	case a.Code != "":
		return &decode.Error{Code: a.Code, Detail: a.Detail, Err: fmt.Errorf("%w: %s", errFailed, a.Error)}
	case a.Result == nil:
		return fmt.Errorf("%w: %s", errFailed, a.Error)
	}
	return nil
}
