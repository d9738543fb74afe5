// Package pipeline is the work of one job: fetch, decode, measure, compare.
//
// Fetching waits for the network and may go on for many jobs at once; measuring needs a processor, so only a set number of jobs does it at
// the same time. What is wrong with a reference contour costs the comparison and a warning, never the analysis.
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

// maxReference bounds a pitch reference in bytes: about two hours in the usual form.
const maxReference = 32 << 20

// Settings bound the work.
type Settings struct {
	Concurrency    int     // recordings measured at the same time
	Fetches        int     // fetches at the same time
	MaxBytes       int64   // of an audio file
	MaxSeconds     float64 // of a recording
	MaxPitchPoints int     // of a pitch track given out
}

// Pipeline analyses. It is safe for concurrent use.
type Pipeline struct {
	settings Settings
	fetcher  *source.Fetcher
	decoder  *decode.Decoder
	measure  chan struct{}
	fetch    chan struct{}
}

// New returns a pipeline that fetches and decodes with what it is given.
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
	defer file.Close() //nolint:errcheck // a temporary file that stays is not the job's failure
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

// explain says why a recording has no result. What is not the recording's fault may succeed another time.
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

// unfetched says why there is no recording. Its URL may be valid again another time.
func (p *Pipeline) unfetched(err error) error {
	err = fmt.Errorf("fetch audio: %w", err)
	if errors.Is(err, source.ErrTooLarge) {
		detail := fmt.Sprintf("The recording is larger than %d bytes, which is the limit here.", p.settings.MaxBytes)
		return &job.Failure{Code: "audio-too-large", Detail: detail, Err: err}
	}
	return &job.Failure{Code: "audio-unreachable", Detail: "The recording could not be fetched.", Retryable: true, Err: err}
}

// get fetches the audio, and the reference where there is one.
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
