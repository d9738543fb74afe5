// Package media knows the containers of audio: it tells a file's kind from its first bytes, and its codec and playing time
// while its bytes stream by. Its one notion of each container is meant to be as forgiving as players are.
//
// It guarantees:
//   - Only bytes decide. No file name and no Content-Type is asked.
//   - A media type is told only on evidence: a signature of a container together with the field that says what it
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

import "time"

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
