// Package sse reads server-sent events (WHATWG HTML, section 9.2.6), as far as Sori sends them: unnamed, with an id and one line
// of data.
package sse

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Event is one event of a stream.
type Event struct {
	ID   string // of this event, or the last one before it that had one
	Data string
}

// maxLine bounds a line, in bytes: a result travels in one.
const maxLine = 16 << 20

// Read hands every whole event of a stream to take, until the stream ends, which is no failure, or take fails. lastID is the
// id that the reader has seen before. An event that was cut short is left out, as a browser does.
func Read(stream io.Reader, lastID string, take func(Event) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxLine)
	event, whole := Event{ID: lastID}, false
	for lines.Scan() {
		if lines.Text() == "" {
			if whole {
				if err := take(event); err != nil {
					return err
				}
			}
			event, whole = Event{ID: event.ID}, false
			continue
		}
		field, value, _ := strings.Cut(lines.Text(), ":")
		switch value = strings.TrimPrefix(value, " "); field {
		case "id":
			event.ID = value
		case "data":
			event.Data, whole = value, true
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read a stream: %w", err)
	}

	return nil
}
