package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// The causes for which the context of a job is canceled.
var (
	errGrace    = errors.New("grace period over") // the grace period of a stop
	errCanceled = errors.New("canceled by the caller")
)

// Settings limit a Manager.
type Settings struct {
	QueueSize int           // largest number of accepted and unfinished jobs
	Grace     time.Duration // how long unfinished jobs may continue after the context of Run has ended
	Retention Retention
}

// Manager accepts jobs and runs them. Its methods are safe for concurrent use.
type Manager struct {
	settings  Settings
	analyse   Analyser
	notifier  *Notifier
	behaviour *BehaviourState
	registry  *registry
	queue     chan *task
	log       zerolog.Logger
}

// NewManager returns a manager, which processes jobs only while Run runs.
func NewManager(settings Settings, analyse Analyser, notifier *Notifier, behaviour *BehaviourState, log zerolog.Logger) *Manager {
	return &Manager{
		settings: settings, analyse: analyse, notifier: notifier, behaviour: behaviour, log: log,
		registry: newRegistry(settings.Retention),
		queue:    make(chan *task, settings.QueueSize), // as long as the largest number of accepted jobs, so that sending never blocks
	}
}

// Submit accepts a request, or returns the receipt of the earlier request with the same idempotency key. It fails with
// ErrFull or ErrStopping.
func (m *Manager) Submit(req Request) (Receipt, error) {
	now := time.Now()
	id := uuid.NewString()
	t := &task{
		req: req, behaviour: m.behaviour.Get(), accepted: now, done: make(chan struct{}),
		snapshot: Snapshot{ID: id, CallerID: req.CallerID, Status: StatusProcessing, Created: now.UTC(), Updated: now.UTC()},
	}
	known, err := m.registry.add(t, m.settings.QueueSize)
	if err != nil {
		return Receipt{}, fmt.Errorf("accept job: %w", err)
	}
	if known != nil {
		return Receipt{ID: known.snapshot.ID, Replayed: true, done: known.done}, nil
	}
	m.queue <- t
	return Receipt{ID: id, done: t.done}, nil
}

// Status returns the state of a job. id is this server's id of the job or the caller's id. If several jobs have the
// caller's id, Status returns the newest. It returns false if no job has the id.
func (m *Manager) Status(id string) (Snapshot, bool) { return m.registry.find(id, time.Now().UTC()) }

// Cancel ends the work on a job and deletes the job. id is this server's id of the job or the caller's id. If several
// jobs have the caller's id, Cancel cancels the newest. No further callback of the job is sent. Cancel returns false if
// no job has the id.
func (m *Manager) Cancel(id string) bool { return m.registry.cancel(id) }

// Run processes jobs until ctx ends. Then it accepts no more jobs, waits up to the grace period until the accepted jobs
// have ended, cancels those that have not, and returns.
func (m *Manager) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var jobs sync.WaitGroup
	start := func(t *task) { jobs.Go(func() { m.process(work, t) }) }
	for ctx.Err() == nil {
		select {
		case t := <-m.queue:
			start(t)
		case <-ctx.Done():
		}
	}
	m.registry.close()
	for drained := false; !drained; {
		select {
		case t := <-m.queue:
			start(t)
		default:
			drained = true
		}
	}
	grace := time.AfterFunc(m.settings.Grace, func() { cancel(errGrace) })
	defer grace.Stop()
	jobs.Wait()
	return nil
}

// process analyses the recording of one job and sends its callbacks, the outcome last.
func (m *Manager) process(ctx context.Context, t *task) {
	defer m.registry.deliver(t)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	m.registry.begin(t, stop)
	log := m.log.With().Str("analysis_id", t.snapshot.ID).Str("job_id", t.req.CallerID).Str("traceparent", t.req.TraceParent).Logger()
	ctx = log.WithContext(ctx)
	out := newOutbox(m.notifier, t)
	var sending sync.WaitGroup
	sending.Go(func() { out.run(ctx) })

	results, err := m.outcome(ctx, t, out)
	if ctx.Err() != nil {
		out.close()
		sending.Wait()
		logAbandoned(ctx)
		return
	}
	final := callback{Status: StatusCompleted, Results: results, ID: t.snapshot.ID}
	var failure *Failure
	if err != nil {
		failure = asFailure(err)
		final = callback{
			Status: StatusFailed, Error: failure.Detail, Code: failure.Code, Retry: &failure.Retryable, ID: t.snapshot.ID,
		}
	}
	m.registry.finish(t, results, failure, time.Now().UTC())
	out.put(final)
	out.close()
	sending.Wait()
	level := zerolog.InfoLevel
	if out.err != nil {
		level = zerolog.WarnLevel
	}
	log.WithLevel(level).Err(out.err).Str("outcome", final.Status).AnErr("reason", err).Int("bytes", len(results)).Dur("took", time.Since(t.accepted)).Msg("analysis finished")
}

// logAbandoned logs why a job has ended without an outcome.
func logAbandoned(ctx context.Context) {
	level := zerolog.WarnLevel
	if errors.Is(context.Cause(ctx), errCanceled) {
		level = zerolog.InfoLevel
	}
	zerolog.Ctx(ctx).WithLevel(level).AnErr("reason", context.Cause(ctx)).Msg("analysis abandoned")
}

// outcome returns the result or the error of the analysis. If the behaviour has Fail or Instant, it returns a fixed
// outcome without an analysis. It returns only after the delay of the behaviour.
func (m *Manager) outcome(ctx context.Context, t *task, out *outbox) (json.RawMessage, error) {
	b := t.behaviour
	share := 1.0 // fraction of the progress that is for the analysis; the rest is for the delay
	if b.Delay > 0 {
		share = 0.3
	}
	progress := func(percent int, message string) {
		if ctx.Err() != nil {
			return
		}
		m.registry.progress(t, percent, message, time.Now().UTC())
		if !b.NoProgress {
			out.put(callback{Status: StatusProcessing, Progress: &percent, Message: message, ID: t.snapshot.ID})
		}
	}
	var results json.RawMessage
	var err error
	switch {
	case b.Fail:
		err = failReason(b)
	case b.Instant:
		results = json.RawMessage(`{"instant":true}`)
	default:
		results, err = m.analyse(ctx, t.req, func(percent int, message string) { progress(int(float64(percent)*share), message) })
	}
	m.delay(ctx, t, progress)
	return results, err
}

func failReason(b Behaviour) error {
	detail := b.FailReason
	if detail == "" {
		detail = "analysis failed as the behaviour asks"
	}
	return &Failure{Code: codeFailed, Detail: detail, Retryable: true}
}

// delay waits until the delay of the behaviour is over, and reports progress meanwhile.
func (m *Manager) delay(ctx context.Context, t *task, progress func(int, string)) {
	total := time.Duration(t.behaviour.Delay)
	rest := total - time.Since(t.accepted)
	if rest <= 0 {
		return
	}
	const first, last = 30, 95
	steps := int(min(max(rest/(500*time.Millisecond), 3), 20))
	tick := time.NewTicker(max(rest/time.Duration(steps), 1))
	defer tick.Stop()
	for i := range steps {
		progress(first+(last-first)*i/steps, "analysing")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
