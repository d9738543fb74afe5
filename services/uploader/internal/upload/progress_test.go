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

// recorder records the published progress events.
type recorder struct {
	at     []time.Time
	events []event.Uploading
	err    error
}

func (r *recorder) PublishAsync(_ context.Context, e event.Event) error {
	r.at, r.events = append(r.at, time.Now()), append(r.events, e.(event.Uploading))
	return r.err
}

// slow is a reader that returns a few bytes every 100 ms.
type slow struct{ rest io.Reader }

func (s slow) Read(p []byte) (int, error) {
	<-time.After(100 * time.Millisecond)
	return s.rest.Read(p[:min(len(p), 10)])
}

func TestProgressIsPublishedAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"published": nil, "not published": errors.New("NATS is away")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const size = 500 // five seconds
				published := &recorder{err: err}
				r := &progressReader{ctx: t.Context(), progress: published, job: "j", size: size, body: slow{bytes.NewReader(make([]byte, size))}}
				r.publish()
				if n, err := io.Copy(io.Discard, r); n != size || err != nil {
					t.Fatal(n, err)
				}
				if len(published.events) < 5 || published.events[0] != (event.Uploading{JobID: "j", Size: size}) {
					t.Fatalf("published %+v", published.events)
				}
				for i := 1; i < len(published.events); i++ {
					if apart := published.at[i].Sub(published.at[i-1]); apart < time.Second {
						t.Errorf("%v apart", apart)
					}
					if published.events[i].Bytes <= published.events[i-1].Bytes || published.events[i].Bytes > size {
						t.Errorf("published %+v", published.events)
					}
				}
			})
		})
	}
}
