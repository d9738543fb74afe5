package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"time"

	"sori.internal/shared/decoding"
	"sori.internal/shared/processlimit"
)

// errWave means that ffmpeg's output does not begin with the header of a WAV file, which only a defect can cause.
var errWave = errors.New("output is no WAV file")

// answer sends the answers to all requests, one after the other: it converts the output of ffmpeg to protocol frames.
type answer struct {
	mu     sync.Mutex // excludes the decoding and the goroutine of watch from each other
	frames *decoding.Writer

	tooWide bool // the sample rate or the number of channels is outside the limits of the protocol
	log     *ffmpegLog
	head    []byte // output of ffmpeg until the header of the WAV file is complete
	begun   bool   // the header was sent: further output is samples
	pending []byte // samples that do not fill a protocol frame yet
}

// begin resets the state for another run of ffmpeg, and returns the writer for ffmpeg's log.
func (a *answer) begin() *ffmpegLog {
	a.log, a.begun, a.tooWide, a.head, a.pending = &ffmpegLog{}, false, false, nil, a.pending[:0]
	return a.log
}

func (a *answer) send(kind byte, body []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frames.Frame(kind, body)
}

func (a *answer) sendJSON(kind byte, v any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frames.JSON(kind, v)
}

// Write implements io.Writer. It receives ffmpeg's standard output: a WAV file.
func (a *answer) Write(p []byte) (int, error) {
	n := len(p)
	if !a.begun {
		a.head = append(a.head, p...)
		header, at, err := parseWave(a.head)
		if err != nil {
			return 0, err
		}
		if at < 0 {
			return n, nil
		}
		if err := header.Check(); err != nil {
			a.tooWide = true
			return 0, err // ends ffmpeg
		}
		header.Container, header.Codec, header.Seconds = a.log.container, a.log.codec, a.log.seconds
		if err := a.sendJSON(decoding.TypeHeader, header); err != nil {
			return 0, err
		}
		a.begun, p = true, a.head[at:]
	}
	for len(p) > 0 {
		part := p[:min(len(p), decoding.MaxFrame-len(a.pending))]
		a.pending, p = append(a.pending, part...), p[len(part):]
		if len(a.pending) == decoding.MaxFrame {
			if err := a.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush sends the pending samples.
func (a *answer) flush() error {
	if len(a.pending) == 0 {
		return nil
	}
	defer func() { a.pending = a.pending[:0] }()
	return a.send(decoding.TypeSamples, a.pending)
}

// finish sends the last frame of an answer. exit is ffmpeg's exit code. cause is nil unless ffmpeg's instance crashed.
func (a *answer) finish(req decoding.Request, exit uint32, cause error) error {
	if err := a.flush(); err != nil {
		return err
	}
	log := a.log
	end := decoding.End{Damaged: log.damaged, Truncated: log.truncated, Complaints: log.complaints}
	switch {
	case a.tooWide:
		end.Code = decoding.CodeLimit
	case cause != nil || log.memory:
		end.Code = decoding.CodeCrashed
		if cause != nil {
			end.Complaints = append(end.Complaints, firstLine(cause))
		}
	case a.begun:
		if exit != 0 {
			end.Damaged++ // ffmpeg failed before the end of the recording
		}
	case log.container == "" && req.Format == "":
		end.Code = decoding.CodeUnsupportedAudio
	case log.codec != "" && (log.noDecoder || log.codec == "none"):
		end.Code, end.Found = decoding.CodeUnsupportedCodec, log.codec
		if log.codec == "none" {
			end.Found = log.tag
		}
	default:
		end.Code = decoding.CodeNoAudio
	}
	return a.sendJSON(decoding.TypeEnd, end)
}

// firstLine returns the first line of an error's text. The other lines are a WebAssembly stack, which is useless
// without symbols.
func firstLine(err error) string {
	line, _, _ := bytes.Cut([]byte(err.Error()), []byte("\n"))
	return string(line)
}

// watch ends the process when the current file has used more processor time than limit, since nothing else can
// interrupt ffmpeg. The returned function ends the watch.
func (a *answer) watch(ctx context.Context, limit time.Duration) (stop func()) {
	return processlimit.Watch(ctx, limit, func() {
		_ = a.sendJSON(decoding.TypeEnd, decoding.End{Code: decoding.CodeLimit}) // an error is irrelevant: the process ends now
		os.Exit(1)                                                               //nolint:revive // see above
	})
}

// parseWave reads the header of the WAV file that ffmpeg writes. It returns the offset of the samples, or -1 if b is
// too short and more bytes are needed.
func parseWave(b []byte) (decoding.Header, int, error) {
	var h decoding.Header
	le := binary.LittleEndian
	if len(b) < 12 {
		return h, -1, nil
	}
	if string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" || len(b) > decoding.MaxFrame {
		return h, -1, errWave
	}
	for at := 12; at+8 <= len(b); {
		body := at + 8
		if string(b[at:at+4]) == "data" {
			return h, body, nil
		}
		size := int(le.Uint32(b[at+4:]))
		if size > decoding.MaxFrame {
			return h, -1, errWave
		}
		if body+size > len(b) {
			return h, -1, nil
		}
		if string(b[at:at+4]) == "fmt " && size >= 16 {
			h.Channels, h.SampleRate = int(le.Uint16(b[body+2:])), int(le.Uint32(b[body+4:]))
			if size >= 24 {
				h.Mask = le.Uint32(b[body+20:])
			}
		}
		at = body + size + size&1
	}
	return h, -1, nil
}
