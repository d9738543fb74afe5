// Package pipeline performs the work of one job: it fetches the recording and its pitch reference (a pitch contour to
// compare it with) into files, and lets a worker decode and measure the recording and compare its pitch with the pitch
// reference.
//
// Several jobs may fetch at the same time, since fetching waits for the network. Measuring needs a processor, so fewer
// jobs measure at the same time. The number of jobs with temporary files is limited; jobs that wait have none, so that
// the temporary storage is limited, too. If the pitch reference cannot be used, the result has a warning instead of the
// comparison; the analysis does not fail.
package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/job"
	"sori.internal/infra/analyzer/internal/source"
	"sori.internal/infra/analyzer/internal/worker"
)

// maxReference is the largest size of a pitch reference, in bytes: a list with a point every 10 ms for about two hours.
const maxReference = 32 << 20

// Settings limit the work.
type Settings struct {
	Places   int   // largest number of jobs that have temporary files at the same time
	MaxBytes int64 // largest size of an audio file, in bytes
}

// Pipeline analyses recordings. It is safe for concurrent use.
type Pipeline struct {
	settings Settings
	fetcher  *source.Fetcher
	measurer *worker.Measurer
	places   chan struct{}
}

// New returns a pipeline with the given fetcher and workers.
func New(settings Settings, fetcher *source.Fetcher, measurer *worker.Measurer) *Pipeline {
	return &Pipeline{settings: settings, fetcher: fetcher, measurer: measurer, places: make(chan struct{}, settings.Places)}
}

// Analyse is a job.Analyser.
func (p *Pipeline) Analyse(ctx context.Context, req job.Request, progress func(int, string)) (json.RawMessage, error) {
	progress(5, "fetching audio")
	if err := take(ctx, p.places); err != nil {
		return nil, err
	}
	defer func() { <-p.places }()
	files, err := p.get(ctx, req)
	defer files.close()
	if err != nil {
		return nil, err
	}
	progress(20, "waiting for a free analyser")
	result, err := p.measurer.Measure(ctx, files.recording(), func(fraction float64) {
		progress(25+int(fraction*70), "measuring")
	})
	if err != nil {
		return nil, explain(err)
	}
	progress(98, "writing result")
	return result, nil
}

// explain returns the error of a failed analysis. If the recording is the cause, the error is a *job.Failure that is
// not retryable. Any other failure is retryable.
func explain(err error) error {
	err = fmt.Errorf("analyse: %w", err)
	if e, ok := errors.AsType[*decode.Error](err); ok {
		return &job.Failure{Code: e.Code, Detail: e.Detail, Err: err}
	}
	return err
}

// unfetched returns the error of a recording that could not be fetched: a *job.Failure. Unless the recording is too
// large, the failure is retryable, since the URL of a later request may be valid.
func (p *Pipeline) unfetched(err error) error {
	err = fmt.Errorf("fetch audio: %w", err)
	if errors.Is(err, source.ErrTooLarge) {
		detail := fmt.Sprintf("The recording is larger than %d bytes, which is the limit here.", p.settings.MaxBytes)
		return &job.Failure{Code: "audio-too-large", Detail: detail, Err: err}
	}
	return &job.Failure{Code: "audio-unreachable", Detail: "The recording could not be fetched.", Retryable: true, Err: err}
}

// fetched contains the temporary files of a job.
type fetched struct {
	audio, reference *source.File // reference is nil if the request names none or if it could not be fetched
	warnings         []string
}

// recording returns the paths of the files and the warnings in the form that a worker needs.
func (f fetched) recording() worker.Recording {
	r := worker.Recording{Path: f.audio.Name(), Size: f.audio.Size, Warnings: f.warnings}
	if f.reference != nil {
		r.Reference = f.reference.Name()
	}
	return r
}

// close removes the files. If a temporary file cannot be removed, the job does not fail.
func (f fetched) close() {
	for _, file := range []*source.File{f.audio, f.reference} {
		if file != nil {
			_ = file.Close() // see above
		}
	}
}

// get fetches the audio, and the pitch reference if the request names one. If it cannot be fetched, files gets a
// warning.
func (p *Pipeline) get(ctx context.Context, req job.Request) (files fetched, err error) {
	if files.audio, err = p.fetcher.File(ctx, req.AudioURL, p.settings.MaxBytes); err != nil {
		return files, p.unfetched(err)
	}
	if req.PitchURL == "" {
		return files, nil
	}
	if files.reference, err = p.fetcher.File(ctx, req.PitchURL, maxReference); err != nil {
		// The cause contains the HTTP status of the other server, which readers of the result must not learn. So the
		// cause is only logged.
		zerolog.Ctx(ctx).Warn().Err(err).Msg("pitch reference not fetched")
		files.warnings = append(files.warnings, "pitch reference not used: it could not be fetched")
	}
	return files, nil
}

// take waits until the channel has a free place, and occupies it.
func take(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a place: %w", context.Cause(ctx))
	}
}
