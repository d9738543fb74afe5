package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"sori.internal/shared/event"
)

// told keeps what is told.
type told struct {
	Journal
	at     []time.Time
	events []event.Uploading
	err    error
}

func (j *told) Hint(_ context.Context, e event.Event) error {
	j.at, j.events = append(j.at, time.Now()), append(j.events, e.(event.Uploading))
	return j.err
}

// slow yields a few bytes every 100 ms.
type slow struct{ rest io.Reader }

func (s slow) Read(p []byte) (int, error) {
	<-time.After(100 * time.Millisecond)
	return s.rest.Read(p[:min(len(p), 10)])
}

func TestProgressIsToldAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"told": nil, "not told": errors.New("the bus is away")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const size = 500 // five seconds
				j := &told{err: err}
				r := &teller{ctx: t.Context(), journal: j, job: "j", size: size, body: slow{bytes.NewReader(make([]byte, size))}}
				r.tell()
				if n, err := io.Copy(io.Discard, r); n != size || err != nil {
					t.Fatal(n, err)
				}
				if len(j.events) < 5 || j.events[0] != (event.Uploading{JobID: "j", Size: size}) {
					t.Fatalf("told %+v", j.events)
				}
				for i := 1; i < len(j.events); i++ {
					if apart := j.at[i].Sub(j.at[i-1]); apart < time.Second {
						t.Errorf("%v apart", apart)
					}
					if j.events[i].Bytes <= j.events[i-1].Bytes || j.events[i].Bytes > size {
						t.Errorf("told %+v", j.events)
					}
				}
			})
		})
	}
}
