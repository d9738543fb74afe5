package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Limits of the part of ffmpeg's log that is kept: bytes of a line, and number of warnings and errors.
const (
	maxLine       = 300
	maxComplaints = 12
)

// ffmpegLog parses ffmpeg's standard error, which describes the recording and reports errors in it.
type ffmpegLog struct {
	line       []byte  // incomplete line
	container  string  // ffmpeg's name of the demuxer; empty until ffmpeg has opened the file
	seconds    float64 // duration that the file declares, or 0
	codec, tag string  // codec (ffmpeg's name) and codec tag of the first audio stream; empty if there is none
	complaints []string
	damaged    int  // number of packets that could not be decoded
	truncated  bool // the file ends before the end that its headers declare
	memory     bool // an allocation failed
	noDecoder  bool // ffmpeg has no decoder for the stream's codec
}

// Write implements io.Writer. It passes each line to read, cut to maxLine bytes.
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

// read parses a line of the log: "[info] text" of ffmpeg itself, or "[opus @ 0x2a50] [error] text" of a component of
// ffmpeg.
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

// describe parses ffmpeg's description of the recording. Tags in the file cannot imitate the description, since ffmpeg
// indents tags deeper.
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

// duration parses a duration such as "00:00:03.94, start: ..." and returns seconds. It returns 0 for "N/A".
func duration(text string) float64 {
	var hours, minutes int
	var seconds float64
	if _, err := fmt.Sscanf(text, "%d:%d:%f", &hours, &minutes, &seconds); err != nil {
		return 0
	}
	return float64(hours*3600+minutes*60) + seconds
}

// complain records the text of a warning or an error of ffmpeg.
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
