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

// inspect reads what the container says: its length to the sample, and what is odd about it.
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

// interruptible ends reading with a context.
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

// demuxer is ffmpeg's name for a media type of package media, for files that ffmpeg does not recognise by itself.
func demuxer(mediaType string) string {
	return map[string]string{
		"audio/wav": "wav", "audio/aiff": "aiff", "audio/flac": "flac", "audio/mpeg": "mp3", "audio/aac": "aac", "audio/x-caf": "caf",
		"audio/ogg": "ogg", "audio/mp4": "mov", "audio/webm": "matroska", "audio/amr": "amr", "audio/amr-wb": "amr",
	}[mediaType]
}

// tolerance is how far the samples that were decoded may be from the length that the container tells, in seconds, for the
// container to be believed: about one packet, which decoders give or leave out at the edges.
const tolerance = 0.1

// seconds is the length of a recording: what was decoded, and to the sample what the container tells, so that it is the same
// wherever the length is shown. It is whole where nothing of what the container tells is missing.
func seconds(frames int64, rate int, file media.Info) (length float64, whole bool) {
	decoded := float64(frames) / float64(rate)
	told := file.Duration.Seconds()
	whole = file.DurationKnown && decoded >= told-0.001
	if file.DurationKnown && math.Abs(told-decoded) <= tolerance {
		return told, whole
	}
	return decoded, whole
}

// merge joins lists of warnings, and names each once.
func merge(lists ...[]string) []string {
	var all []string
	for _, warning := range slices.Concat(lists...) {
		if !slices.Contains(all, warning) {
			all = append(all, warning)
		}
	}
	return all
}
