package client

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// Event is one server-sent event.
type Event struct {
	ID   string // of this event, or of the last event before it that had one
	Data string
}

// maxLine bounds a line, in bytes: a result is sent in one line.
const maxLine = 16 << 20

// ReadEvents passes every whole event of a stream to take, until the stream ends, which is no
// error, or take fails. It reads server-sent events (WHATWG HTML, section 9.2.6) as Sori sends
// them: unnamed, with an id and one line of data. lastID is the id that the reader has seen
// before. An event that was cut short is left out, as a browser does.
func ReadEvents(stream io.Reader, lastID string, take func(Event) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxLine)
	event, whole := Event{ID: lastID}, false
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			if whole {
				if err := take(event); err != nil {
					return err
				}
			}
			event, whole = Event{ID: event.ID}, false
			continue
		}
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		switch value = bytes.TrimPrefix(value, []byte(" ")); string(field) {
		case "id":
			event.ID = string(value)
		case "data":
			event.Data, whole = string(value), true
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read a stream: %w", err)
	}
	return nil
}
