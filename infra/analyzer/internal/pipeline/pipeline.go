// Package pipeline performs the work of one job: fetch, decode, measure, compare.
//
// Many jobs may fetch at the same time, since fetching waits for the network. Measuring needs a processor, so only a
// fixed number of jobs measure at the same time. If a reference contour cannot be used, the result has a warning
// instead of the comparison; the analysis does not fail.
package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sori.internal/infra/analyzer/internal/analysis"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/job"
	"sori.internal/infra/analyzer/internal/source"
)

// maxReference is the largest size of a pitch reference in bytes: about two hours in the usual form.
const maxReference = 32 << 20

// Settings limit the work.
type Settings struct {
	Concurrency    int     // recordings measured at the same time
	Fetches        int     // fetches at the same time
	MaxBytes       int64   // largest size of an audio file
	MaxSeconds     float64 // longest recording that is accepted
	MaxPitchPoints int     // most values in the pitch track of a result
}

// Pipeline analyses recordings. It is safe for concurrent use.
type Pipeline struct {
	settings Settings
	fetcher  *source.Fetcher
	decoder  *decode.Decoder
	measure  chan struct{}
	fetch    chan struct{}
}

// New returns a pipeline with the given fetcher and decoder.
func New(settings Settings, fetcher *source.Fetcher, decoder *decode.Decoder) *Pipeline {
	return &Pipeline{
		settings: settings, fetcher: fetcher, decoder: decoder,
		measure: make(chan struct{}, settings.Concurrency), fetch: make(chan struct{}, settings.Fetches),
	}
}

// Analyse is a job.Analyser.
func (p *Pipeline) Analyse(ctx context.Context, req job.Request, progress func(int, string)) (json.RawMessage, error) {
	progress(5, "fetching audio")
	file, reference, warning, err := p.get(ctx, req)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // a temporary file that cannot be removed is no failure of the job
	progress(20, "waiting for a free analyser")
	if err := take(ctx, p.measure); err != nil {
		return nil, err
	}
	defer func() { <-p.measure }()
	progress(25, "measuring")
	next := 0.25
	recording := decode.Source{Path: file.Name(), Size: file.Size}
	result, err := analysis.Run(ctx, p.decoder, recording, analysis.Options{
		MaxSeconds: p.settings.MaxSeconds, MaxPitchPoints: p.settings.MaxPitchPoints, Reference: reference,
		Progress: func(fraction float64) {
			for ; next <= fraction && next < 1; next += 0.25 {
				progress(25+int(next*70), "measuring")
			}
		},
	})
	if err != nil {
		return nil, p.explain(err)
	}
	if warning != "" {
		result.Warnings = append(result.Warnings, warning)
	}
	progress(98, "writing result")
	data, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("write result: %w", err)
	}
	return data, nil
}

// explain returns the error of a recording without a result. If the recording is not the cause, a later attempt may
// succeed.
func (p *Pipeline) explain(err error) error {
	err = fmt.Errorf("analyse: %w", err)
	if errors.Is(err, analysis.ErrTooLong) {
		detail := fmt.Sprintf("The recording is longer than %.0f seconds, which is the limit here.", p.settings.MaxSeconds)
		return &job.Failure{Code: "audio-too-long", Detail: detail, Err: err}
	}
	if e, ok := errors.AsType[*decode.Error](err); ok {
		return &job.Failure{Code: e.Code, Detail: e.Detail, Err: err}
	}
	return err
}

// unfetched returns the error of a recording that could not be fetched. Its URL may be valid in a later attempt.
func (p *Pipeline) unfetched(err error) error {
	err = fmt.Errorf("fetch audio: %w", err)
	if errors.Is(err, source.ErrTooLarge) {
		detail := fmt.Sprintf("The recording is larger than %d bytes, which is the limit here.", p.settings.MaxBytes)
		return &job.Failure{Code: "audio-too-large", Detail: detail, Err: err}
	}
	return &job.Failure{Code: "audio-unreachable", Detail: "The recording could not be fetched.", Retryable: true, Err: err}
}

// get fetches the audio, and the reference if the request names one.
func (p *Pipeline) get(ctx context.Context, req job.Request) (file *source.File, reference []float64, warning string, err error) {
	if err := take(ctx, p.fetch); err != nil {
		return nil, nil, "", err
	}
	defer func() { <-p.fetch }()
	file, err = p.fetcher.File(ctx, req.AudioURL, p.settings.MaxBytes)
	if err != nil {
		return nil, nil, "", p.unfetched(err)
	}
	if req.PitchURL == "" {
		return file, nil, "", nil
	}
	data, err := p.fetcher.Bytes(ctx, req.PitchURL, maxReference)
	if err == nil {
		reference, err = analysis.ParseReference(data)
	}
	if err != nil {
		warning = "pitch reference not used: " + err.Error()
	}
	return file, reference, warning, nil
}

// take waits for a slot.
func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a slot: %w", context.Cause(ctx))
	}
}
