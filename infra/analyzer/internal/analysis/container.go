package analysis

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/shared/media"
)

// inspect reads the whole file, and returns what its container states: the length of the recording, if it can be known,
// and warnings about the file.
func inspect(ctx context.Context, src decode.Source) (media.Info, error) {
	file, err := os.Open(src.Path)
	if err != nil {
		return media.Info{}, fmt.Errorf("open the recording: %w", err)
	}
	defer file.Close()
	meter := media.NewMeter(src.Size)
	if _, err := io.Copy(meter, interruptible{ctx, file}); err != nil {
		return media.Info{}, fmt.Errorf("inspect the recording: %w", err)
	}
	return meter.Info(), nil
}

// precheck returns the error with which decoding would fail, if the container already shows that the recording exceeds
// a limit. A file of half a megabyte can contain hours of samples, and decoding them only to refuse the file would cost
// minutes of processor time.
func precheck(file media.Info, size int64, maxSeconds float64) error {
	if exactHeader(file.MediaType) {
		if err := decode.CheckDimensions(file.SampleRate, file.Channels); err != nil {
			return fmt.Errorf("check the header: %w", err)
		}
	}
	if !file.DurationKnown {
		return nil
	}
	seconds, flow := file.Duration.Seconds(), float64(file.SampleRate)*float64(file.Channels)
	expensive := decode.CheckSamples(seconds*flow, size, maxSeconds)
	switch {
	case seconds > maxSeconds+tolerance && decode.CheckSamples(maxSeconds*flow, size, maxSeconds) == nil:
		return fmt.Errorf("audio of %.0f s: %w", seconds, ErrTooLong)
	case expensive != nil:
		return fmt.Errorf("check the length: %w", expensive)
	}
	return nil
}

// exactHeader reports whether decoders use the rate and the channels in the header of a file of this type. In other
// containers the codec decides.
func exactHeader(mediaType string) bool {
	return mediaType == "audio/wav" || mediaType == "audio/flac" || mediaType == "audio/aiff"
}

// interruptible is an io.Reader that returns an error once ctx has ended.
type interruptible struct {
	ctx context.Context //nolint:containedctx // io.Reader has no parameter for it; the reader is used for one call of io.Copy
	r   io.Reader
}

// Read implements io.Reader.
func (i interruptible) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.r.Read(p)
}

// demuxer returns ffmpeg's name of the format with the given media type, or "". ffmpeg needs the name only for files
// whose format it does not recognise itself.
func demuxer(mediaType string) string {
	return map[string]string{
		"audio/wav": "wav", "audio/aiff": "aiff", "audio/flac": "flac", "audio/mpeg": "mp3", "audio/aac": "aac", "audio/x-caf": "caf",
		"audio/ogg": "ogg", "audio/mp4": "mov", "audio/webm": "matroska", "audio/amr": "amr", "audio/amr-wb": "amr",
	}[mediaType]
}

// tolerance is the largest difference, in seconds, between the length that the container states and the length of the
// decoded samples at which the stated length is used. It is about the length of a packet: decoders may add or drop a
// packet at the start and at the end of a recording.
const tolerance = 0.1

// seconds returns the length of a recording: the length that the container states, if that differs from the length of
// the decoded samples by at most tolerance, and otherwise the length of the decoded samples. The services show the
// stated length, too. whole is true if the decoded samples are not shorter than the stated length.
func seconds(frames int64, rate int, file media.Info) (length float64, whole bool) {
	decoded := float64(frames) / float64(rate)
	told := file.Duration.Seconds()
	whole = file.DurationKnown && decoded >= told-0.001
	if file.DurationKnown && math.Abs(told-decoded) <= tolerance {
		return told, whole
	}
	return decoded, whole
}

// merge joins lists of warnings without duplicates.
func merge(lists ...[]string) []string {
	var all []string
	for _, warning := range slices.Concat(lists...) {
		if !slices.Contains(all, warning) {
			all = append(all, warning)
		}
	}
	return all
}
