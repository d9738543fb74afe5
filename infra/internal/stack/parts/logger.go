package parts

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/rs/zerolog"
)

// logger takes the server's log. The server believes that a fatal line ends the process; here it only fails the start.
type logger struct {
	log zerolog.Logger

	mu    sync.Mutex
	fatal error

	failed chan struct{} // closed with the first fatal line
}

func newLogger(log zerolog.Logger) *logger { return &logger{log: log, failed: make(chan struct{})} }

const message = "nats server"

// Noticef implements server.Logger.
func (l *logger) Noticef(format string, v ...any) { l.line(l.log.Debug(), format, v) }

// Warnf implements server.Logger.
func (l *logger) Warnf(format string, v ...any) { l.line(l.log.Warn(), format, v) }

// Errorf implements server.Logger; what clients did wrong comes here, so it is no error of ours.
func (l *logger) Errorf(format string, v ...any) { l.line(l.log.Warn(), format, v) }

// Debugf implements server.Logger.
func (l *logger) Debugf(format string, v ...any) { l.line(l.log.Trace(), format, v) }

// Tracef implements server.Logger.
func (l *logger) Tracef(format string, v ...any) { l.line(l.log.Trace(), format, v) }

// Fatalf implements server.Logger.
func (l *logger) Fatalf(format string, v ...any) {
	l.line(l.log.Error(), format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		close(l.failed)
	}
	l.fatal = errors.Join(l.fatal, fmt.Errorf(format, v...))
}

func (l *logger) line(e *zerolog.Event, format string, v []any) {
	if e.Enabled() {
		e.Str("line", fmt.Sprintf(format, v...)).Msg(message)
	}
}

func (l *logger) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// plain makes a child's log readable within the line that its parent logs.
func plain(w *zerolog.ConsoleWriter) {
	w.Out = os.Stderr
	w.NoColor = true
	w.PartsExclude = []string{zerolog.TimestampFieldName}
}
