package proc

import (
	"bytes"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

const (
	maxLine  = 4096 // longer lines are cut into several
	tailSize = 6    // lines kept to explain an unexpected end
)

// lines takes the output of a process: every line is logged, the last ones are kept.
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
	case "WRN", "ERR", "[WRN]", "[ERR]": // as zerolog and the NATS server mark them for people
		level = zerolog.WarnLevel
	}
	l.log.WithLevel(level).Str("line", line).Msg("process output")
	if len(l.last) == tailSize {
		l.last = l.last[1:]
	}
	l.last = append(l.last, line)
}

// tail joins the last lines, an unfinished one included.
func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last
	if rest := strings.TrimSpace(string(l.partial)); rest != "" {
		last = append(last[:len(last):len(last)], rest)
	}
	return strings.Join(last, " | ")
}
