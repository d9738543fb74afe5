package app_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

// A live update contains a small result, but not a large one, which is read from the database. In
// both cases a stream must send the same frame.
func TestALiveUpdateHasTheResultIfThatIsSmall(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for name, length := range map[string]int{"small": 100, "large": 9 << 10} {
		j := c.job()
		heard := make(chan *nats.Msg, 64)
		sub, err := c.JetStream().Conn().ChanSubscribe(c.Namespace().Subject(event.LiveSubject(j.id)), heard)
		if err != nil {
			t.Fatal(err)
		}
		j.received()
		j.awaitStatus("processing", 10)
		open := j.stream(j.progressURL(), nil)
		open.next()
		result := `{"text":"` + strings.Repeat("가", length/3) + `"}`
		warnings := []string{"no-results"}
		j.publish(event.Completed{JobID: j.id, Attempt: 1, Result: json.RawMessage(result), Warnings: warnings})
		frames := append(open.rest(), j.stream(j.progressURL(), nil).rest()...)
		if len(frames) != 2 || frames[0].data != frames[1].data || string(frames[0].body.Result) != result || !slices.Equal(frames[0].body.Warnings, warnings) {
			t.Fatalf("%s: %d frames, the first %.300s", name, len(frames), frames[0].data)
		}
		var update struct {
			Status   job.Status      `json:"status"`
			Result   json.RawMessage `json:"result"`
			Warnings []string        `json:"warnings"`
		}
		for update.Status != job.Completed {
			select {
			case m := <-heard:
				if err := json.Unmarshal(m.Data, &update); err != nil {
					t.Fatal(err)
				}
			case <-c.Context().Done():
				t.Fatal("no update of the completed job")
			}
		}
		_ = sub.Unsubscribe()
		if name == "small" && (string(update.Result) != result || !slices.Equal(update.Warnings, warnings)) ||
			name == "large" && (update.Result != nil || update.Warnings != nil) {
			t.Errorf("%s: the update has %.60s, %v", name, update.Result, update.Warnings)
		}
	}
}
