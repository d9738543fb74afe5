package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/tail"
	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// action is an operation of the tracker on a job. The value is the last element of its
// route.
type action string

const (
	toRetry  action = "retry"
	toCancel action = "cancel"
)

// done returns the participle of the action, for the output.
func (a action) done() string {
	if a == toCancel {
		return "canceled"
	}
	return "retried"
}

// candidate is a job to retry or to cancel, with a description for the operator.
type candidate struct{ job, about string }

type retryCommand struct {
	Jobs   []string `arg:"" optional:"" name:"id" help:"the ids of the jobs"`
	Failed bool     `help:"retry failed jobs for which another attempt may succeed, newest first, instead of the jobs with the given ids"`
	DryRun bool     `help:"only print which jobs would be retried"`
	choice
}

// Run asks the tracker to retry failed jobs: the named ones, or those that the flags select from the
// records. The tracker decides for each job, by the job's log, whether it may be retried.
func (c *retryCommand) Run(ctx context.Context, t terminal) error {
	if c.Failed == (len(c.Jobs) > 0) || !c.Failed && (c.Code != "" || c.Since != 0) {
		return errors.New("retry: give either the ids of jobs, or -failed; -code and -since need -failed")
	}
	if c.N < 1 {
		return errors.New("retry: -n must be at least 1")
	}
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	jobs, err := named(c.Jobs)
	if err == nil && c.Failed {
		jobs, err = t.find(ctx, lookup, c.choice)
	}
	if err != nil {
		return err
	}
	if c.DryRun {
		for _, j := range jobs {
			fmt.Fprintf(t.out, "%s  would be retried%s\n", j.job, j.about)
		}
		fmt.Fprintf(t.out, "%d jobs would be retried\n", len(jobs))
		return nil
	}
	return t.control(ctx, lookup, toRetry, c.Force, jobs)
}

type cancelCommand struct {
	Jobs []string `arg:"" name:"id" help:"the ids of the jobs"`
}

// Run asks the tracker to cancel jobs that have not ended.
func (c *cancelCommand) Run(ctx context.Context, t terminal) error {
	jobs, err := named(c.Jobs)
	if err != nil {
		return err
	}
	lookup, err := t.settings()
	if err != nil {
		return err
	}
	return t.control(ctx, lookup, toCancel, false, jobs)
}

// named returns the jobs with the given ids. It returns an error if one of them is no
// job id, so that no request is sent in that case.
func named(ids []string) ([]candidate, error) {
	jobs := make([]candidate, len(ids))
	for i, given := range ids {
		id, ok := event.ParseJobID(given)
		if !ok {
			return nil, fmt.Errorf("%q is not a job id", given)
		}
		jobs[i].job = id
	}
	return jobs, nil
}

// choice selects failed jobs for a retry.
type choice struct {
	Code  string `help:"with -failed: only jobs that failed with this error code"`
	Since period `help:"with -failed: only jobs that failed within this period before now, such as 2h"`
	N     int    `default:"100" help:"with -failed: only the newest jobs, at most this number"`
	Force bool   `help:"also retry jobs whose failure is not retryable"`
}

// find returns the failed jobs whose records match the choice. It prints how many other jobs were
// skipped because their error is not retryable.
func (t terminal) find(ctx context.Context, settings config.Lookup, c choice) ([]candidate, error) {
	records, err := openRows(settings)
	if err != nil {
		return nil, err
	}
	defer records.db.Close()
	found, err := records.failed(ctx, c)
	if err != nil {
		return nil, err
	}
	if !c.Force {
		skipped, err := records.lasting(ctx, c)
		if err != nil {
			return nil, err
		}
		if skipped > 0 {
			fmt.Fprintf(t.out, "%d skipped: another attempt does not change why they failed (-force retries them)\n", skipped)
		}
	}
	jobs := make([]candidate, len(found))
	for i, f := range found {
		jobs[i] = candidate{f.JobID, fmt.Sprintf(" (%s, attempt %d, %s)", tail.Clean(f.ErrorCode), f.Attempt, f.UpdatedAt.UTC().Format(stamp))}
	}
	return jobs, nil
}

// control sends a request to the tracker for every job, and prints the outcomes. If the tracker cannot be reached, it
// sends no further requests.
func (t terminal) control(ctx context.Context, settings config.Lookup, a action, force bool, jobs []candidate) (err error) {
	at, err := openTracker(settings)
	if err != nil {
		return err
	}
	defer at.Close()
	granted, refused := 0, 0
	for _, j := range jobs {
		var no *refusal
		if no, err = ask(ctx, at, a, force, j.job); err != nil {
			break
		}
		if no != nil {
			refused++
			fmt.Fprintf(t.out, "%s  refused%s: %s\n", j.job, j.about, no)
			continue
		}
		granted++
		fmt.Fprintf(t.out, "%s  %s%s\n", j.job, a.done(), j.about)
	}
	fmt.Fprintf(t.out, "%d of %d jobs %s, %d refused, %d left\n", granted, len(jobs), a.done(), refused, len(jobs)-granted-refused)
	if err == nil && refused > 0 {
		err = fmt.Errorf("%d jobs were refused", refused)
	}
	return err
}

// answerIn is the time limit for the tracker's answer for one job. The tracker's own limit is shorter.
const answerIn = 30 * time.Second

// openTracker returns a client of the tracker. It does not connect.
func openTracker(settings config.Lookup) (*client.Client, error) {
	var cfg struct {
		URL       url.URL `env:"TRACKER_URL,required"`
		Principal principal.Config
	}
	if err := config.Load(settings, &cfg); err != nil {
		return nil, err
	}
	if !config.IsHTTP(cfg.URL) {
		return nil, errors.New("read settings: TRACKER_URL must be an http or https URL")
	}
	signed := operator{signer: principal.NewSigner(cfg.Principal), next: http.DefaultTransport}
	return &client.Client{Base: strings.TrimSuffix(cfg.URL.String(), "/"), HTTP: &http.Client{Timeout: answerIn, Transport: signed}}, nil
}

// operator signs requests as the gateway does for an admin. The events that result name sorictl as the
// principal.
type operator struct {
	signer principal.Signer
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (o operator) RoundTrip(r *http.Request) (*http.Response, error) {
	header, err := o.signer.Sign(principal.Principal{Owner: "sorictl", Scopes: []principal.Scope{principal.Admin}}, time.Now())
	if err != nil {
		return nil, err //nolint:wrapcheck // the error describes what failed
	}
	r = r.Clone(r.Context())
	r.Header.Set(principal.Header, header)
	return o.next.RoundTrip(r) //nolint:wrapcheck // this RoundTripper only adds a header
}

// refusal is the problem with which the tracker refuses a request.
type refusal client.Problem

// String returns the reason in one sentence.
func (r *refusal) String() string {
	text := tail.Clean(r.Detail + " (" + r.Code + ")")
	if r.CurrentStatus != "" {
		text += ", status " + tail.Clean(r.CurrentStatus)
	}
	return text
}

// ask sends a request for one job to the tracker. If the tracker refuses, ask returns the refusal and
// no error. It returns an error if there is no answer, if the answer is not that of a tracker, or if the
// tracker would refuse every job, since the settings are wrong.
func ask(ctx context.Context, tracker *client.Client, a action, force bool, job string) (*refusal, error) {
	err := tracker.Control(ctx, job, string(a), force)
	if err == nil {
		return nil, nil
	}
	p, answered := errors.AsType[*client.Problem](err)
	switch {
	case !answered:
		return nil, fault.Wrap(fault.Unavailable, "tracker-away", "The tracker cannot be reached.", err)
	case p.Code == "", p.Code == "route-not-found":
		return nil, fault.New(fault.Unavailable, "tracker-away",
			fmt.Sprintf("The server at TRACKER_URL is not a tracker: it answered %d %s.", p.Status, http.StatusText(p.Status)))
	case p.Code == "unauthenticated":
		return nil, fault.New(fault.Unauthenticated, p.Code,
			"The tracker does not accept the signature of sorictl. PRINCIPAL_SECRET must be that of the tracker, and their clocks must agree.")
	default:
		return (*refusal)(p), nil
	}
}
