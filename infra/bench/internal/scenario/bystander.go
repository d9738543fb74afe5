package scenario

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/wait"
)

// The bystander sends one request every requestEvery. One of uploadOf requests is an upload.
const (
	requestEvery = 50 * time.Millisecond
	uploadOf     = 20
)

// bystanderCategory is the category of the bystander's tokens.
const bystanderCategory = "attack-bystander"

// bystander is a user with a low steady rate of requests: it lists tokens and jobs, reads a job, uploads small
// recordings and follows their jobs.
type bystander struct {
	api   *client.Client
	token int64
	job   string               // the bystander reads this job, which has ended
	stub  *target.StubAnalyzer // the analysis server, if it is the stub, whose jobs this program completes; otherwise nil
	audio loadgen.Recording

	control *client.Client // client of a process that no attack reaches
}

// Noticed is what the bystander, a client beside the attacker, measured in one or more windows of time.
type Noticed struct {
	Requests int                `json:"requests"`
	P50      float64            `json:"p50_ms"`
	P99      float64            `json:"p99_ms"`
	Control  float64            `json:"control_p99_ms"`      // the p99 of the requests to a process that no attack reaches
	Failed   map[string]int     `json:"failed,omitempty"`    // requests by the status of an unexpected response, or "none" without a response
	Kinds    map[string]float64 `json:"kinds_p99_ms"`        // the p99 by kind of request
	Jobs     int                `json:"jobs"`                // uploads that were accepted
	Ended    int                `json:"jobs_ended"`          // jobs whose end the stream showed within the window
	JobP50   float64            `json:"job_p50_ms"`          // time from the upload to the last frame, of the jobs that ended
	Open     map[string]int     `json:"jobs_open,omitempty"` // the other jobs, by their stage at the end of the window
}

// window collects the results of the requests and jobs of the bystander in a window of time.
type window struct {
	control, jobs Samples

	mu       sync.Mutex
	requests map[string]*Samples // durations of the requests by kind
	failed   map[string]int
	accepted int
	open     map[string]int // number of jobs that have not ended, by stage
}

func newWindow() *window {
	return &window{failed: map[string]int{}, requests: map[string]*Samples{}, open: map[string]int{}}
}

// noticed summarizes windows.
func noticed(windows ...*window) Noticed {
	var requests, control, jobs Samples
	kinds := map[string]*Samples{}
	n := Noticed{Failed: map[string]int{}, Kinds: map[string]float64{}, Open: map[string]int{}}
	for _, w := range windows {
		control.Merge(&w.control)
		jobs.Merge(&w.jobs)
		w.mu.Lock()
		n.Jobs += w.accepted
		for stage, count := range w.open {
			n.Open[stage] += count
		}
		for kind, took := range w.requests {
			requests.Merge(took)
			if kinds[kind] == nil {
				kinds[kind] = &Samples{}
			}
			kinds[kind].Merge(took)
		}
		for status, count := range w.failed {
			n.Failed[status] += count
			n.Requests += count
		}
		w.mu.Unlock()
	}
	for kind, took := range kinds {
		n.Kinds[kind] = inMilliseconds(took.Percentile(99))
	}
	n.Requests += requests.Len()
	n.P50, n.P99 = inMilliseconds(requests.Percentile(50)), inMilliseconds(requests.Percentile(99))
	n.Control = inMilliseconds(control.Percentile(99))
	n.Ended, n.JobP50 = jobs.Len(), inMilliseconds(jobs.Percentile(50))
	return n
}

// answered records the time from due to the answer, or the failure of the request. It ignores failures after
// ctx has ended, since they are interruptions.
func (w *window) answered(ctx context.Context, kind string, due time.Time, err error) {
	if err == nil {
		took := time.Since(due)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.requests[kind] == nil {
			w.requests[kind] = &Samples{}
		}
		w.requests[kind].Add(took)
		return
	}
	if ctx.Err() != nil {
		return
	}
	status := "none"
	if p, ok := errors.AsType[*client.Problem](err); ok {
		status = strconv.Itoa(p.Status)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed[status]++
}

// use sends requests for the given time and returns their results. A request is sent when it is due, even while earlier
// requests are not answered. Its time is measured from then, so that a stall lengthens the times of all requests that
// are due during the stall.
func (y *bystander) use(ctx context.Context, length time.Duration) *window {
	ctx, cancel := context.WithTimeout(ctx, length+graceOfLast)
	defer cancel()
	w := newWindow()
	var requests, jobs sync.WaitGroup
	following, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	for i := 0; ; i++ {
		due := began.Add(time.Duration(i) * requestEvery)
		if due.Sub(began) >= length || wait.For(ctx, time.Until(due)) != nil {
			break
		}
		requests.Go(func() {
			if _, err := y.control.Do(ctx, client.Request{Method: http.MethodGet, Path: "/livez"}); err == nil {
				w.control.Add(time.Since(due))
			}
		})
		if i%uploadOf == 0 {
			requests.Add(1)
			jobs.Go(func() { y.upload(ctx, following, w, due, requests.Done) })
			continue
		}
		requests.Go(func() {
			kind, err := y.read(ctx, i)
			w.answered(ctx, kind, due, err)
		})
	}
	requests.Wait()
	stop()
	jobs.Wait()
	return w
}

// graceOfLast is how long the requests that are under way at the end of a window may take.
const graceOfLast = 30 * time.Second

// read sends the i-th read-only request, and returns its kind.
func (y *bystander) read(ctx context.Context, i int) (kind string, err error) {
	switch i % 3 {
	case 0:
		_, err = y.api.Do(ctx, client.Request{Method: http.MethodGet, Path: "/tokens/?limit=20&category=" + bystanderCategory})
		return "list tokens", err
	case 1:
		_, err = y.api.Job(ctx, y.job, 0)
		return "read a job", err
	default:
		_, err = y.api.Jobs(ctx, url.Values{"limit": {"20"}})
		return "list jobs", err
	}
}

// upload uploads a recording, calls answered when the answer has arrived, and follows the job until it has ended or the
// window is over.
func (y *bystander) upload(ctx, following context.Context, w *window, due time.Time, answered func()) {
	job, err := y.api.Upload(ctx, y.token, y.audio.Form())
	w.answered(ctx, "upload", due, err)
	answered()
	if err != nil {
		return
	}
	w.mu.Lock()
	w.accepted++
	w.mu.Unlock()
	if y.stub != nil {
		completing := make(chan struct{})
		go func() {
			defer close(completing)
			_ = y.stub.Complete(following, job, "") // if it fails, the job stays open
		}()
		defer func() { <-completing }()
	}
	first, stage := true, "no frame"
	opened := time.Now()
	err = y.api.Follow(following, job, func(f client.Job) {
		if first {
			w.answered(following, followKind, opened, nil)
			first = false
		}
		if stage = f.Stage; f.Terminal() {
			w.jobs.Add(f.At.Sub(due))
		}
	})
	if err != nil && following.Err() == nil {
		w.answered(following, followKind, opened, err)
	} else if err != nil {
		w.mu.Lock()
		w.open[stage]++
		w.mu.Unlock()
		y.cancel(ctx, job)
	}
}

// cancel cancels a job whose end nobody awaits any more, since the job may occupy the analysis server and delay later
// jobs.
func (y *bystander) cancel(ctx context.Context, job string) {
	// An error is ignored: the job may have ended.
	_, _ = y.api.Do(ctx, client.Request{Method: http.MethodPost, Path: "/jobs/" + job + "/cancel", Body: http.NoBody})
}

// followKind is the kind of a request for a stream. Its time is measured until the first frame arrives.
const followKind = "follow a job"

// settle uploads recordings until the job of one of them has ended within a second, and returns false if that
// does not happen.
func (y *bystander) settle(ctx context.Context) bool {
	const usual, patience = time.Second, 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ctx.Err() == nil {
		began := time.Now()
		switch job := y.once(ctx); {
		case job == "":
			_ = wait.For(ctx, usual)
		case time.Since(began) < usual:
			y.job = job
			return true
		default:
			y.job = job
		}
	}
	return false
}

// once uploads one recording, waits until its job ends, and returns the id of the job, or "" if any of this
// fails.
func (y *bystander) once(ctx context.Context) (job string) {
	job, err := y.api.Upload(ctx, y.token, y.audio.Form())
	if err != nil {
		return ""
	}
	if y.stub != nil {
		if y.stub.Complete(ctx, job, "") != nil {
			return ""
		}
	}
	if y.api.Follow(ctx, job, func(client.Job) {}) != nil {
		return ""
	}
	return job
}
