package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tmaxmax/go-sse"
)

// ErrNoEnd says that a stream ended before its job did.
var ErrNoEnd = errors.New("the stream ended before the job did")

// errEnd stops reading at the frame that ends the job.
var errEnd = errors.New("the job has ended")

// Stream opens the progress stream of a job, after the event with the id lastID, if it is not empty.
func (c *Client) Stream(ctx context.Context, job, lastID, language string) (io.ReadCloser, error) {
	r := Request{Path: "/tokens/analysis-progress/" + job, Header: map[string]string{}}
	if lastID != "" {
		r.Header["Last-Event-ID"] = lastID
	}
	if language != "" {
		r.Header["Accept-Language"] = language
	}
	resp, err := c.send(ctx, c.streams(), r)
	if err != nil {
		return nil, fmt.Errorf("follow job %s: %w", job, err)
	}
	return resp.Body, nil
}

// Event is one server-sent event.
type Event struct {
	ID   string // of this event, or of the last event before it that had one
	Data string
}

// maxEvent bounds an event, in bytes: a result is sent in one line.
const maxEvent = 16 << 20

// ReadEvents passes every whole event of a stream to take, until the stream ends, which is no error, or
// take fails. lastID is the id that the reader has seen before. An event that was cut short is left out,
// as a browser does.
func ReadEvents(stream io.Reader, lastID string, take func(Event) error) error {
	for e, err := range sse.Read(stream, &sse.ReadConfig{MaxEventSize: maxEvent}) {
		if err != nil {
			return fmt.Errorf("read a stream: %w", err)
		}
		if e.Data == "" {
			continue // an id alone
		}
		if err := take(Event{ID: cmp.Or(e.LastEventID, lastID), Data: e.Data}); err != nil {
			return err
		}
	}
	return nil
}

// ReadFrames passes every whole frame of a stream to see, until the stream ends, which is no error, or
// see fails.
func ReadFrames(stream io.Reader, lastID string, see func(Job) error) error {
	return ReadEvents(stream, lastID, func(e Event) error {
		f := Job{ID: e.ID, At: time.Now()}
		if err := json.Unmarshal([]byte(e.Data), &f); err != nil {
			return fmt.Errorf("read frame %q: %w", e.Data, err)
		}
		return see(f)
	})
}

// Frames reads all frames of a stream until it ends.
func Frames(stream io.Reader) (frames []Job, err error) {
	err = ReadFrames(stream, "", func(f Job) error {
		frames = append(frames, f)
		return nil
	})
	return frames, err
}

// Follow passes every frame of a job's stream to see, until the frame that ends the job. A stream
// that ends before is ErrNoEnd.
func (c *Client) Follow(ctx context.Context, job string, see func(Job)) error {
	stream, err := c.Stream(ctx, job, "", "")
	if err != nil {
		return err
	}
	defer stream.Close()
	if err := toEnd(stream, see); err != nil {
		return fmt.Errorf("follow job %s: %w", job, err)
	}
	return nil
}

func toEnd(stream io.Reader, see func(Job)) error {
	err := ReadFrames(stream, "", func(f Job) error {
		see(f)
		if f.Terminal() {
			return errEnd
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnd):
		return nil
	case err == nil:
		return ErrNoEnd
	default:
		return err
	}
}
