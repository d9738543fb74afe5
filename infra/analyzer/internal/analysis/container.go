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

// inspect reads the container: it returns the exact length of the recording, and the irregularities of the file.
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

// precheck returns the error with which decoding would end, if the container shows it already: a file of half a megabyte
// can have hours of samples, whose decoding would cost minutes of processor time before it is refused.
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

// interruptible is a reader that fails once its context has ended.
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

// demuxer returns ffmpeg's name for a media type of package media, for files that ffmpeg does not recognise itself.
func demuxer(mediaType string) string {
	return map[string]string{
		"audio/wav": "wav", "audio/aiff": "aiff", "audio/flac": "flac", "audio/mpeg": "mp3", "audio/aac": "aac", "audio/x-caf": "caf",
		"audio/ogg": "ogg", "audio/mp4": "mov", "audio/webm": "matroska", "audio/amr": "amr", "audio/amr-wb": "amr",
	}[mediaType]
}

// tolerance is how much the length that the container states may differ from the length of the decoded samples, in
// seconds, and still be used. It is about one packet: decoders may add or drop one at the start and at the end.
const tolerance = 0.1

// seconds returns the length of a recording: the length that the container states, if that is close to the length of
// the decoded samples, and otherwise the length of the decoded samples. The stated length is exact, and equal to the
// length that is displayed elsewhere. whole is true if the decoded samples are not shorter than the stated length.
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
