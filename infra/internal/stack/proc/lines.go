package proc

import (
	"bytes"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

const (
	maxLine  = 4096 // longest line in bytes; longer lines are split
	tailSize = 6    // how many last lines an error contains
)

// lines is the writer for the output of a process. It logs every line and keeps the last lines for errors.
type lines struct {
	log zerolog.Logger

	mu      sync.Mutex
	partial []byte
	last    []string
}

// Write implements io.Writer and never fails.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, b...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 && len(l.partial) < maxLine {
			return len(b), nil
		}
		next := end + 1
		if end < 0 || end > maxLine {
			end, next = maxLine, maxLine
		}
		l.keep(string(l.partial[:end]))
		l.partial = l.partial[next:]
	}
}

func (l *lines) keep(line string) {
	if line = strings.TrimSpace(line); line == "" {
		return
	}
	level := zerolog.DebugLevel
	switch mark, _, _ := strings.Cut(line, " "); mark {
	case "WRN", "ERR", "[WRN]", "[ERR]": // the level in the text output of zerolog and of the NATS server
		level = zerolog.WarnLevel
	}
	l.log.WithLevel(level).Str("line", line).Msg("process output")
	if len(l.last) == tailSize {
		l.last = l.last[1:]
	}
	l.last = append(l.last, line)
}

// tail returns the last lines in one string, including a line that is not finished yet.
func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last
	if rest := strings.TrimSpace(string(l.partial)); rest != "" {
		last = append(last[:len(last):len(last)], rest)
	}
	return strings.Join(last, " | ")
}
