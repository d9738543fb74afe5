// Package decode decodes a recording to interleaved float samples, block by block.
//
// The decoder is ffmpeg, in a process of its own (package decoding defines the protocol, ../../decoder is the program).
// This package itself parses only the header of a plain PCM WAV file. It guarantees:
//
//  1. The memory does not grow with the length of the recording or with the values in its header.
//  2. The processor time of a recording has a limit (Allowance), which depends on the size of the file and on the
//     longest duration that is accepted.
//  3. A decoder that crashes, hangs or exceeds its limits is killed, and only its recording fails.
//  4. Decoding by ffmpeg ends when the context ends. Reading a plain WAV file does not end then: the caller must check
//     the context.
//  5. Whatever the file contains, the result is samples or an *Error.
package decode

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"sori.internal/shared/decoding"
)

// Error is the reason why a recording cannot be decoded. A retry cannot succeed.
type Error struct {
	Code   string // one of the codes of package decoding
	Detail string // a sentence for the user
	Err    error  // cause for the log; may be nil
}

// Error returns a description for the log.
func (e *Error) Error() string {
	text := e.Code + ": " + e.Detail
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Failure returns an Error with the given code and cause. Its Detail is the sentence for the code.
func Failure(code string, cause error) *Error {
	detail := map[string]string{
		decoding.CodeUnsupportedAudio: "The file is not a recording in a format that is known here.",
		decoding.CodeUnsupportedCodec: "The recording's codec cannot be decoded.",
		decoding.CodeNoAudio:          "Nothing in the recording can be decoded.",
		decoding.CodeLimit:            "Decoding the recording takes more time than it may.",
		decoding.CodeCrashed:          "The recording made the program that analysed it crash.",
	}[code]
	return &Error{Code: code, Detail: detail, Err: cause}
}

// Role is the position of a channel, which determines its weight (ITU-R BS.1770-4, table 3).
type Role uint8

// The roles of channels, with the weights that they have in the measurement of loudness.
const (
	RoleFront    Role = iota // left, right, centre, mono: weight 1
	RoleSurround             // side and rear: weight 1.41
	RoleLFE                  // low frequency effects: weight 0
)

// Info describes a stream. It is known before the first sample is read.
type Info struct {
	Format     string  // container: wav, rf64, flac, mp3, ogg, webm, mp4, ...
	Codec      string  // ffmpeg's name of the codec, for example pcm_s16le, flac, mp3, vorbis, opus, aac
	SampleRate int     // frames per second
	Channels   int     // samples per frame
	Roles      []Role  // role of each channel, in the order of the samples
	Seconds    float64 // duration that the file declares, used only to compute the progress; 0 if the file declares none
}

// Codes of warnings about a recording that could be decoded, and limits for the detection of clipping.
const (
	WarningTruncated = "truncated"            // the file ends before the end that its headers state
	WarningDamaged   = "damaged-frames"       // parts of the file could not be decoded, and their samples are missing
	WarningClipped   = "clipped-samples"      // at least three consecutive samples at full scale in one channel
	WarningNotFinite = "non-finite-samples"   // NaN and infinite samples were replaced by silence
	fullScale        = float32(32767) / 32768 // value of the largest sample in 16 bits
	clippedRun       = 3                      // consecutive samples
)

// Source names a recording.
type Source struct {
	Path   string // path of a regular file
	Size   int64  // size in bytes
	Format string // name of ffmpeg's demuxer for the media type of the file; empty if the media type is not known
}

// Stream is one recording that is being decoded. It is not safe for concurrent use.
type Stream struct {
	info    Info
	samples sampler
	finite  bool  // whether all samples so far were finite numbers
	runs    []int // length of the current run of samples at full scale, for each channel
	clipped bool
	read    int64 // number of samples read so far
	budget  int64 // largest number of samples that may be read
}

// sampler is a source of decoded samples: a plain WAV file, or a decoder process. read fills p with samples, and
// returns io.EOF after the last one. close ends the decoding and returns how it ended.
type sampler interface {
	read(p []float32) (int, error)
	close() decoding.End
}

// Open begins to decode a recording. If a decoder process decodes it, the stream fails when ctx ends. The caller must
// call Close on the stream, even after Read has failed.
func (d *Decoder) Open(ctx context.Context, src Source) (*Stream, error) {
	info, samples, err := openPCM(src.Path)
	if err != nil {
		return nil, err
	}
	if samples == nil {
		info, samples, err = d.start(ctx, src)
	}
	if err != nil {
		return nil, err
	}
	return &Stream{
		info: info, samples: samples, finite: true, runs: make([]int, info.Channels),
		budget: MaxSamples(src.Size, d.settings.MaxSeconds),
	}, nil
}

// Info describes the stream.
func (s *Stream) Info() Info { return s.info }

// Read fills p with interleaved samples and returns their number, a multiple of the number of channels. After the last
// sample it returns 0 and io.EOF. It returns an *Error for a recording without samples, or with more samples than
// MaxSamples allows. p must have room for at least one sample of each channel.
func (s *Stream) Read(p []float32) (int, error) {
	p = p[:len(p)/s.info.Channels*s.info.Channels]
	if len(p) == 0 {
		return 0, io.ErrShortBuffer
	}
	filled := 0
	for filled < len(p) {
		n, err := s.samples.read(p[filled:])
		filled += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	filled -= filled % s.info.Channels
	switch {
	case filled == 0 && s.read == 0:
		return 0, Failure(decoding.CodeNoAudio, nil)
	case filled == 0:
		return 0, io.EOF
	}
	if s.read += int64(filled); s.read > s.budget {
		return 0, Failure(decoding.CodeLimit, nil)
	}
	s.inspect(p[:filled])
	return filled, nil
}

// Progress returns the fraction of the recording that was read, 0 to 1, or 0 if the file does not declare its duration.
func (s *Stream) Progress() float64 {
	if s.info.Seconds <= 0 {
		return 0
	}
	return min(float64(s.read)/float64(s.info.Channels*s.info.SampleRate)/s.info.Seconds, 1)
}

// inspect replaces samples that are not finite numbers by zero, and detects clipping.
func (s *Stream) inspect(p []float32) {
	channel := 0
	for i, v := range p {
		switch {
		case v != v || v > math.MaxInt32 || v < -math.MaxInt32: // NaN, infinity or an absurd value would make the sums of all meters unusable
			p[i], s.finite, s.runs[channel] = 0, false, 0
		case v >= fullScale || v <= -fullScale:
			if s.runs[channel]++; s.runs[channel] == clippedRun {
				s.clipped = true
			}
		default:
			s.runs[channel] = 0
		}
		if channel++; channel == len(s.runs) {
			channel = 0
		}
	}
}

// Close ends the decoding and returns the codes of warnings about the samples that were read.
func (s *Stream) Close() (warnings []string) {
	end := s.samples.close()
	for code, found := range map[string]bool{
		WarningTruncated: end.Truncated, WarningDamaged: end.Damaged > 0, WarningClipped: s.clipped, WarningNotFinite: !s.finite,
	} {
		if found {
			warnings = append(warnings, code)
		}
	}
	slices.Sort(warnings)
	return warnings
}

// MaxSamples returns the largest number of samples, summed over all channels, that a recording of size bytes may have:
// two channels at 48 kHz for maxSeconds, and eight for each byte of the file. (A lossless codec exceeds eight samples
// per byte only in silence.) The limit bounds the time to measure a small file that decodes to very many samples.
func MaxSamples(size int64, maxSeconds float64) int64 { return int64(maxSeconds*2*48000) + 8*size }

// CheckDimensions returns an *Error if the sample rate, in Hz, or the number of channels is outside the limits of the
// decoder.
func CheckDimensions(rate, channels int) error {
	if err := (decoding.Header{SampleRate: rate, Channels: channels}).Check(); err != nil {
		return Failure(decoding.CodeLimit, err)
	}
	return nil
}

// CheckSamples returns an *Error if a recording has more samples, summed over all channels, than MaxSamples allows.
func CheckSamples(samples float64, size int64, maxSeconds float64) error {
	if samples > float64(MaxSamples(size, maxSeconds)) {
		return Failure(decoding.CodeLimit, nil)
	}
	return nil
}

// Allowance returns the processor time that the decoding of a recording may use: a constant for the start, a part that
// depends on the size in bytes, and a part that depends on maxSeconds, the longest duration that is accepted. All parts
// are generous enough for a slow machine.
func Allowance(size int64, maxSeconds float64) time.Duration {
	return 10*time.Second + time.Duration(size)*time.Microsecond/2 + time.Duration(maxSeconds*float64(4*time.Millisecond))
}
