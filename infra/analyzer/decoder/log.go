package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Limits of the part of ffmpeg's log that is kept.
const (
	maxLine       = 300
	maxComplaints = 12
)

// ffmpegLog parses ffmpeg's standard error: the description of the recording, and the errors in it.
type ffmpegLog struct {
	line       []byte  // incomplete line
	container  string  // the demuxer; empty until the file is opened
	seconds    float64 // length that the file announces
	codec, tag string  // codec and tag of the first audio stream; empty if there is none
	complaints []string
	damaged    int  // packets that could not be decoded
	truncated  bool // the file ends too early
	memory     bool // an allocation failed
	noDecoder  bool // there is no decoder for the stream's codec
}

// Write implements io.Writer. It truncates long lines.
func (l *ffmpegLog) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, complete := bytes.Cut(p, []byte("\n"))
		l.line = append(l.line, part[:min(len(part), maxLine-len(l.line))]...)
		if p = rest; complete {
			l.read(string(l.line))
			l.line = l.line[:0]
		}
	}
	return n, nil
}

// read parses one line: "[info] text" of ffmpeg itself, or "[opus @ 0x2a50] [error] text" of one of its parts.
func (l *ffmpegLog) read(line string) {
	if strings.Contains(strings.SplitN(line, "]", 2)[0], " @ ") {
		_, line, _ = strings.Cut(line, "] ")
	}
	level, text, _ := strings.Cut(line, "] ")
	switch strings.TrimPrefix(level, "[") {
	case "info":
		l.describe(text)
	case "warning", "error", "fatal", "panic":
		l.complain(text)
	}
}

// describe parses ffmpeg's description of the recording. ffmpeg indents the tags of a file deeper than the description
// of the file itself.
func (l *ffmpegLog) describe(text string) {
	if rest, ok := strings.CutPrefix(text, "Input #0, "); ok && l.container == "" {
		l.container, _, _ = strings.Cut(rest, ", from '")
		return
	}
	if rest, ok := strings.CutPrefix(text, "  Duration: "); ok && l.seconds == 0 {
		l.seconds = duration(rest)
		return
	}
	if l.container == "" || l.codec != "" || !strings.HasPrefix(text, "  Stream #0:") {
		return
	}
	if _, audio, ok := strings.Cut(text, ": Audio: "); ok {
		description, _, _ := strings.Cut(audio, ",")
		words := strings.Fields(description)
		if len(words) == 0 {
			return
		}
		l.codec = words[0]
		if at := slices.Index(words, "/"); at > 0 { // "(mp4a / 0x6134706D)"
			l.tag = strings.TrimLeft(words[at-1], "(")
		}
	}
}

// duration parses "00:00:03.94, start: ...". It returns 0 for "N/A".
func duration(text string) float64 {
	var hours, minutes int
	var seconds float64
	if _, err := fmt.Sscanf(text, "%d:%d:%f", &hours, &minutes, &seconds); err != nil {
		return 0
	}
	return float64(hours*3600+minutes*60) + seconds
}

// complain records a warning or an error.
func (l *ffmpegLog) complain(text string) {
	if len(l.complaints) < maxComplaints {
		l.complaints = append(l.complaints, strings.ReplaceAll(text, inside, "recording"))
	}
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
	}
	switch {
	case has("Cannot allocate memory"):
		l.memory = true
	case has("ended prematurely", "partial file"):
		l.truncated = true
	case has("Error while decoding stream", "Error submitting"):
		l.damaged++
	case has("Decoder (codec", "not on whitelist", "Unknown decoder", "no decoder found for"):
		l.noDecoder = true
	}
}
