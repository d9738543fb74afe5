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

// ErrNoEnd means that a stream ended before its job did.
var ErrNoEnd = errors.New("the stream ended before the job did")

// ErrBroken means that a stream broke in the middle.
var ErrBroken = errors.New("read a stream")

// errEnd stops reading after the terminal frame.
var errEnd = errors.New("the job has ended")

// Stream opens the progress stream of a job. If lastID is not empty, it is sent as the Last-Event-ID.
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
	ID   string // the id of this event or, if it has none, of the last event before it that had one
	Data string
}

// maxEvent is the maximal length of an event in bytes. It is large because a result is sent in one line.
const maxEvent = 16 << 20

// ReadEvents calls the function take for every complete event of a stream. It returns nil at the end of the
// stream, ErrBroken, or the error of take. lastID is the id for events before the first one with an id. An incomplete
// event at the end is ignored, as browsers do.
func ReadEvents(stream io.Reader, lastID string, take func(Event) error) error {
	for e, err := range sse.Read(stream, &sse.ReadConfig{MaxEventSize: maxEvent}) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBroken, err)
		}
		if e.Data == "" {
			continue // an event with only an id
		}
		if err := take(Event{ID: cmp.Or(e.LastEventID, lastID), Data: e.Data}); err != nil {
			return err
		}
	}
	return nil
}

// ReadFrames calls the function see for every complete frame of a stream. It returns nil at the end of the
// stream, or the error of see.
func ReadFrames(stream io.Reader, lastID string, see func(Job) error) error {
	return ReadEvents(stream, lastID, func(e Event) error {
		f := Job{ID: e.ID, At: time.Now()}
		if err := json.Unmarshal([]byte(e.Data), &f); err != nil {
			return fmt.Errorf("read frame %q: %w", e.Data, err)
		}
		return see(f)
	})
}

// Frames returns all frames of a stream. It reads until the stream ends.
func Frames(stream io.Reader) (frames []Job, err error) {
	err = ReadFrames(stream, "", func(f Job) error {
		frames = append(frames, f)
		return nil
	})
	return frames, err
}

// Follow calls the function see for every frame of a job's stream, up to the terminal frame. If the stream ends
// before, it returns ErrNoEnd.
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
