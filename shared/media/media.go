// Package media recognises audio files. It sniffs the media type from the first bytes, and probes codec and playing time
// while the bytes stream by. It accepts the irregular files that players accept.
//
// It guarantees:
//   - The bytes alone decide, never a file name or a Content-Type.
//   - A media type needs evidence: a signature of a container together with the field that says what it
//     contains, or, for the formats that have no signature (MP3, ADTS), frames that follow each other as their headers
//     say. Images, documents, archives and pure video that share a container's outer shape are refused.
//   - Every byte passes a Meter once, in order, and is not kept: a Meter holds the header being read, a few hundred bytes,
//     and for Opus in Ogg one page; never more than 128 KiB, whatever the size of the file.
//   - Work is linear in the bytes, whatever they claim: a Meter follows a file's own structure from one header to the
//     next and only ever forwards.
//   - A playing time is what the file says or nothing: a header's field, or a count of all its frames, or its bytes at the
//     constant rate that a header states; never a guess from a part of it. Where the bytes can contradict a header (WAV,
//     AIFF, CAF, the frames of MP3), they are believed. The silence that encoders add in front and behind is left out where
//     the file tells how long it is, and else counts, as it does in a decoder.
//   - Any input is safe: no failure, no panic, no allocation by what a header declares.
package media

import (
	"slices"
	"time"
)

// Info is what is known of a file. Fields that are not known have their zero value.
type Info struct {
	MediaType     string // as Sniff tells it
	Container     string
	Codec         string // by the name that ffmpeg gives it
	SampleRate    int    // samples a second
	Channels      int
	Duration      time.Duration
	DurationKnown bool
	Warnings      []string // codes of what is odd about the file
}

// Codes of what is odd about a file's structure.
const (
	Truncated       = "truncated"         // it ends before its header says
	TrailingData    = "trailing-data"     // something follows that is no part of it
	LeadingJunk     = "leading-junk"      // something stands before it
	WrongBlockAlign = "wrong-block-align" // its header tells another size of a sample frame than its format has
	Damaged         = "damaged"           // what follows its beginning is broken
)

// play sets the playing time of samples at rate a second. Absurd numbers are refused when the Meter is asked.
func (i *Info) play(samples, rate float64) {
	seconds := samples / rate
	if seconds > 0 && seconds <= Longest.Seconds() { // so written, NaN is refused
		i.Duration, i.DurationKnown = time.Duration(seconds*float64(time.Second)+0.5), true
	}
}

func (i *Info) warn(code string) {
	if !slices.Contains(i.Warnings, code) {
		i.Warnings = append(i.Warnings, code)
	}
}
