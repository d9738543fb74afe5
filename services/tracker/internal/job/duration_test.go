package job_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"sori.internal/shared/event"
)

func TestTheDurationIsThatOfTheResultIfBothAreCloseOrOneIsUnknown(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		probed float64
		result string
		want   float64
	}{
		{0, `{"duration":2.33}`, 2.33},
		{2.34, `{"duration":2.33}`, 2.33},
		{2.33, `{"duration":2.83}`, 2.83},
		{3.5, `{"duration":2.33}`, 3.5},
		{2.33, `{"duration":2330}`, 2.33},
		{0.6, `{"duration":0}`, 0.6},
		{2.33, `{"score":1}`, 2.33},
		{0, `{"duration":"2.33"}`, 0},
		{0, `{"duration":-1}`, 0},
		{0, `{"duration":1e300}`, 0},
		{0, `{"score":1}`, 0},
		{0, `[1]`, 0},
	} {
		stored := event.Stored{JobID: id, TokenID: 7, Bucket: "b", Key: "k", Duration: c.probed}
		entries := history(received(), stored, attempted(1), dispatched(1),
			event.Completed{JobID: id, Attempt: 1, Result: json.RawMessage(c.result)})
		for range 20 {
			if got := shuffled(t, rnd, entries).row.Duration; got != c.want {
				t.Errorf("%v s in the container and %s: %v s, want %v s", c.probed, c.result, got, c.want)
			}
		}
	}
}
