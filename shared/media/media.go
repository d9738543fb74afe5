// Package media recognises audio files. It sniffs the media type from the first bytes, and probes
// codec and duration while the bytes stream by. It accepts the irregular files that players
// accept.
//
// It guarantees:
//   - Only the bytes decide what a file is, never its name or a Content-Type.
//   - A media type needs evidence: the signature of a container together with the field that names
//     its content, or, for the formats without a signature (MP3, ADTS), frames that follow each
//     other as their headers state. Images, documents, archives and videos without sound are
//     refused, even if they are in the same kind of container.
//   - A Meter reads every byte once, in order, and does not keep it. It buffers the header that it
//     is reading, a few hundred bytes, and for Opus in Ogg one page; never more than 128 KiB,
//     whatever the size of the file.
//   - The work is linear in the number of bytes, whatever the headers claim: a Meter follows the
//     file's structure from one header to the next, and only forwards.
//   - A duration comes from a header's field, from a count of all frames, or from the number of
//     bytes at a constant rate that a header states. It is never estimated from a part of the file.
//     If the bytes contradict a header (WAV, AIFF, CAF, the frames of MP3), the bytes decide.
//     Silence that an encoder added at the start and the end of the sound is left out if the file
//     states its length; otherwise it is included in the duration, as a decoder includes it.
//   - Any input is safe: no failure, no panic, no allocation of a size that a header declares.
package media

import (
	"slices"
	"time"
)

// Info is what is known about a file. Unknown fields have their zero value.
type Info struct {
	MediaType     string // one of Types
	Container     string
	Codec         string // ffmpeg's name of the codec
	SampleRate    int    // samples per second
	Channels      int
	Duration      time.Duration
	DurationKnown bool
	Warnings      []string // codes such as Truncated
}

// Codes of irregularities in a file's structure.
const (
	Truncated       = "truncated"         // the file is shorter than its header states
	TrailingData    = "trailing-data"     // bytes that are not part of the file follow it
	LeadingJunk     = "leading-junk"      // bytes that are not part of the file precede it
	WrongBlockAlign = "wrong-block-align" // the header states another size of a sample frame than the format has
	Damaged         = "damaged"           // the file is malformed after its beginning
)

// play sets the duration of a number of samples at a rate, in samples per second. If the result is
// not positive or longer than Longest, the duration stays unchanged. Meter.Info checks the duration
// again at the end.
func (i *Info) play(samples, rate float64) {
	seconds := samples / rate
	if seconds > 0 && seconds <= Longest.Seconds() { // written like this, the condition is false for NaN
		i.Duration, i.DurationKnown = time.Duration(seconds*float64(time.Second)+0.5), true
	}
}

func (i *Info) warn(code string) {
	if !slices.Contains(i.Warnings, code) {
		i.Warnings = append(i.Warnings, code)
	}
}
