// Package analysis probes the container of an audio file, then decodes the file once, from beginning to end, and passes
// its samples to every meter (package measure).
//
// The memory is limited: a block of samples, and about 10 KB of frame data for each second of audio (most of it for the
// pitch search), so that an hour needs about 40 MB. A recording that is longer than the caller's limit fails and is not
// shortened.
package analysis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/measure"
)

// ErrTooLong means that a recording is longer than Options.MaxSeconds.
var ErrTooLong = errors.New("audio too long")

// blockFrames is the number of frames that are decoded and measured together.
const blockFrames = 8192

// Options configure an analysis.
type Options struct {
	MaxSeconds     float64                // longest duration of a recording that is accepted
	MaxPitchPoints int                    // largest number of values in the pitch track of the result; a longer track gets a larger hop
	Reference      []float64              // pitch of the voiced frames of the pitch reference, in Hz; if empty, nothing is compared
	Progress       func(fraction float64) // called with the fraction of the recording that was read, 0..1; may be nil
}

// meters contains the meters that read the samples of one recording.
type meters struct {
	loudness *measure.Loudness
	peak     *measure.Peak
	energy   *measure.Energy
	pitch    *measure.Pitch
	waveform *measure.Waveform
}

// Run decodes and measures a recording. If the recording is the cause of a failure, the error wraps ErrTooLong or a
// *decode.Error. If ctx ends, the error wraps the cause of ctx.
func Run(ctx context.Context, decoder *decode.Decoder, src decode.Source, opts Options) (*Result, error) {
	began := time.Now()
	file, err := inspect(ctx, src)
	if err != nil {
		return nil, err
	}
	if err := precheck(file, src.Size, opts.MaxSeconds); err != nil {
		return nil, err
	}
	src.Format = demuxer(file.MediaType)
	stream, err := decoder.Open(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("open audio: %w", err)
	}
	info := stream.Info()
	m := &meters{
		loudness: measure.NewLoudness(info.SampleRate, weights(info.Roles)),
		peak:     measure.NewPeak(info.Channels),
		energy:   measure.NewEnergy(info.SampleRate),
		pitch:    measure.NewPitch(info.SampleRate),
		waveform: measure.NewWaveform(),
	}
	frames, err := m.feed(ctx, stream, opts)
	warnings := stream.Close()
	if err != nil {
		return nil, err
	}
	duration, whole := seconds(frames, info.SampleRate, file)
	if whole { // no audio is missing: what could not be decoded was a tag, or the header of the next stream in a chained Ogg
		warnings = slices.DeleteFunc(warnings, func(code string) bool { return code == decode.WarningDamaged })
	}
	result := m.result(info, duration, opts)
	result.Warnings = merge(file.Warnings, warnings, result.Warnings)
	result.AnalysisSeconds = Decimal3(time.Since(began).Seconds())
	return result, nil
}

// feed reads the stream, passes every block of samples to every meter, and returns the number of frames.
func (m *meters) feed(ctx context.Context, stream *decode.Stream, opts Options) (int64, error) {
	info := stream.Info()
	limit := int64(opts.MaxSeconds * float64(info.SampleRate))
	block := make([]float32, blockFrames*info.Channels)
	mono := make([]float32, blockFrames)
	var frames int64
	for {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("measure: %w", context.Cause(ctx))
		}
		n, err := stream.Read(block)
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return 0, fmt.Errorf("decode audio: %w", err)
		}
		if frames += int64(n / info.Channels); frames > limit {
			return 0, fmt.Errorf("audio of more than %.0f s: %w", opts.MaxSeconds, ErrTooLong)
		}
		mix := mixDown(mono, block[:n], info.Channels)
		m.loudness.Write(block[:n])
		m.peak.Write(block[:n])
		m.energy.Write(mix)
		m.pitch.Write(mix)
		m.waveform.Write(mix)
		if opts.Progress != nil {
			opts.Progress(stream.Progress())
		}
	}
}

// mixDown writes the mean of the channels of each frame to mono, and returns the part of mono that it has written.
func mixDown(mono, block []float32, channels int) []float32 {
	frames := len(block) / channels
	scale := 1 / float32(channels)
	for i := range frames {
		var sum float32
		for _, v := range block[i*channels : (i+1)*channels] {
			sum += v
		}
		mono[i] = sum * scale
	}
	return mono[:frames]
}

// result collects the values of the meters.
func (m *meters) result(info decode.Info, duration float64, opts Options) *Result {
	hz, voicing := m.pitch.Track()
	voiced := measure.VoicedSegments(hz)
	r := &Result{
		Duration: duration, SampleRate: info.SampleRate, Channels: info.Channels, Format: info.Format, Codec: info.Codec,
		LoudnessLUFS:   optional[Decimal2](m.loudness.Integrated()),
		PeakDBFS:       optional[Decimal2](m.peak.Sample()),
		TruePeakDBTP:   optional[Decimal2](m.peak.TruePeak()),
		Pitch:          pitchTrack(hz, voicing, max(opts.MaxPitchPoints, 1)),
		PitchMedianHz:  optional[Decimal2](measure.MedianPitch(hz)),
		VoicedSegments: voiced,
		SpeechRate:     Decimal3(float64(voiced) / duration),
		Segments:       []Segment{},
	}
	speech := 0.0
	for _, s := range m.energy.Segments() {
		if s.End = min(s.End, duration); s.End <= s.Start {
			continue
		}
		kind := "silence"
		if s.Speech {
			kind = "speech"
			speech += s.End - s.Start
		}
		r.Segments = append(r.Segments, Segment{Start: Decimal3(s.Start), End: Decimal3(s.End), Kind: kind})
	}
	r.SpeechSeconds = Decimal3(speech)
	if speech > 0 {
		r.ArticulationRate = optional[Decimal3](float64(voiced)/speech, true)
	}
	if len(opts.Reference) > 0 {
		r.compare(hz, opts.Reference)
	}
	low, high := m.waveform.Points()
	r.Waveform = Waveform{Min: make([]Decimal3, len(low)), Max: make([]Decimal3, len(high))}
	for i := range low {
		r.Waveform.Min[i], r.Waveform.Max[i] = Decimal3(low[i]), Decimal3(high[i])
	}
	return r
}

// compare sets the similarity of the pitch to the pitch reference, or adds a warning.
func (r *Result) compare(hz []float32, reference []float64) {
	score, ok := measure.PitchSimilarity(measure.Voiced(hz), reference)
	r.PitchSimilarity = optional[Decimal2](score, ok)
	if !ok {
		r.Warnings = append(r.Warnings, "too few voiced frames to compare the pitch")
	}
}
