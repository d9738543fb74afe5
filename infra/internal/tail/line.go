package tail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
	"sori.internal/shared/trace"
)

// painter formats lines, in colour unless plain is true.
type painter struct{ plain bool }

// The colours (ECMA-48, SGR).
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	cyan   = "36"
	dim    = "2"
)

func (p painter) paint(color, text string) string {
	if p.plain || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// line returns the line for one event. Progress, and events outside the job log, are dimmed.
func (p painter) line(at time.Time, subject string, header nats.Header, body []byte) string {
	what, job, color := describe(subject)
	said := Said(body)
	if consumer := event.ParseDeadSubject(subject); consumer != "" {
		job, _, _ = event.ParseSubject(header.Get(bus.HeaderSubject))
		said = fmt.Sprintf("%s gave up %s: %s: %s", consumer, Clean(header.Get(bus.HeaderSubject)), Clean(header.Get(bus.HeaderCode)), Clean(header.Get(bus.HeaderReason)))
	}
	line := fmt.Sprintf("%s  %s  %-36s  %s", p.paint(dim, at.Format("15:04:05.000")), p.paint(color, fmt.Sprintf("%-10s", what)), job, said)
	if id := trace.IDOf(header.Get(trace.Header)); id != "" {
		line += "  " + p.paint(dim, "trace="+id)
	}
	return line
}

// describe returns, for a subject, the name of the event, the job and the colour.
func describe(subject string) (what, job, color string) {
	if job, name, err := event.ParseSubject(subject); err == nil {
		return string(name), job, colorOf(name)
	}
	tokens := strings.Split(subject, ".")
	if len(tokens) < 2 {
		return Clean(subject), "", ""
	}
	if tokens[1] == "dead" {
		return "dead", "", red
	}
	for _, t := range tokens[2:] {
		if id, ok := event.ParseJobID(t); ok {
			return Clean(tokens[1]), id, dim
		}
	}
	return Clean(tokens[1]), Clean(strings.Join(tokens[2:], ".")), dim
}

func colorOf(name event.Name) string {
	switch {
	case name == event.NameCompleted:
		return green
	case name == event.NameFailed:
		return red
	case name == event.NameCanceled, name == event.NameExpired, name == event.NameErased:
		return yellow
	case name == event.NameReceived:
		return blue
	case name.Progress():
		return dim
	default:
		return cyan
	}
}

// shown is how many characters of a value a line contains at most.
const shown = 120

// Said returns a message body as text for a line. For a JSON object the text is name=value
// for each member except job_id, in the order of the body. Any other body is only
// truncated. The result contains no control characters.
func Said(body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') || !json.Valid(body) {
		return short(Clean(string(body)))
	}
	var parts []string
	for d.More() {
		name, _ := d.Token() // no error: the body is valid
		var value json.RawMessage
		_ = d.Decode(&value)
		if name != "job_id" {
			parts = append(parts, Clean(fmt.Sprint(name))+"="+short(text(value)))
		}
	}
	return strings.Join(parts, " ")
}

// text returns a JSON value as text: a string without its quotes, if that is unambiguous.
func text(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil && s != "" && s == Clean(s) && !strings.ContainsAny(s, " =\"") {
		return s
	}
	return Clean(string(value))
}

func short(s string) string {
	if utf8.RuneCountInString(s) <= shown {
		return s
	}
	return string([]rune(s)[:shown]) + "…"
}

// Clean replaces control and format characters, so that text from a client cannot move the cursor or
// change the colours of a terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '·'
		}
		return r
	}, s)
}
