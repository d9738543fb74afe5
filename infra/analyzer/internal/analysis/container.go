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

// interruptible is a reader that fails once its context has ended.
type interruptible struct {
	ctx context.Context //nolint:containedctx // io.Reader's shape; it lives for one call of io.Copy
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

// tolerance is the largest difference, in seconds, between the length of the decoded samples and the length in the
// container at which the latter is used: about one packet, which decoders may add or drop at the start and the end.
const tolerance = 0.1

// seconds returns the length of a recording. If the length in the container is close to the decoded length, it is
// returned, since it is exact, and equal to the length that is displayed elsewhere. whole is true if the decoded
// samples are not shorter than the length in the container.
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
