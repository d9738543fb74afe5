package job_test

import (
	"testing"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/event"
)

func refused(attempt int, code string) event.Event {
	return event.Refused{JobID: id, Attempt: attempt, At: began, Code: code, Detail: "d", Outcome: true}
}

func TestARefusedCallbackShowsUntilAnythingNewerIsKnown(t *testing.T) {
	t.Parallel()
	taken := []event.Event{received(), stored(), attempted(1), dispatched(1)}
	for name, c := range map[string]struct {
		then []event.Event
		code string // "" means that no refusal is shown
	}{
		"told":                {[]event.Event{refused(1, "malformed-json")}, "malformed-json"},
		"told again":          {[]event.Event{refused(1, "malformed-json"), refused(1, "too-large")}, "too-large"},
		"after progress":      {[]event.Event{progressed(1, 40, "m"), refused(1, "malformed-json")}, "malformed-json"},
		"progress after it":   {[]event.Event{refused(1, "malformed-json"), progressed(1, 40, "m")}, ""},
		"completed":           {[]event.Event{refused(1, "malformed-json"), completed(1)}, ""},
		"after the end":       {[]event.Event{completed(1), refused(1, "malformed-json")}, ""},
		"lapsed":              {[]event.Event{refused(1, "malformed-json"), lapsed(1)}, ""},
		"the next attempt":    {[]event.Event{refused(1, "malformed-json"), attempted(2)}, ""},
		"an old attempt's":    {[]event.Event{attempted(2), refused(1, "malformed-json")}, ""},
		"of the next attempt": {[]event.Event{refused(1, "malformed-json"), attempted(2), refused(2, "too-large")}, "too-large"},
	} {
		r := play(history(append(taken[:len(taken):len(taken)], c.then...)...)).row
		if r.RefusedCode != c.code || (r.Stage == job.StageRefused) != (c.code != "") {
			t.Errorf("%s: %s %q", name, r.Stage, r.RefusedCode)
		}
	}
}

// Some servers call back before they answer the request. A refused callback must still be shown
// when the request is accepted afterwards.
func TestARefusedCallbackShowsAlsoAfterTheServerAcceptsItsRequest(t *testing.T) {
	t.Parallel()
	early := []event.Event{received(), stored(), attempted(1), refused(1, "malformed-json"), dispatched(1)}
	for name, c := range map[string]struct {
		then []event.Event
		code string // "" means that no refusal is shown
	}{
		"accepted":          {nil, "malformed-json"},
		"progress after it": {[]event.Event{progressed(1, 40, "m")}, ""},
		"lapsed":            {[]event.Event{lapsed(1)}, ""},
		"the next attempt":  {[]event.Event{attempted(2), dispatched(2)}, ""},
		"completed":         {[]event.Event{completed(1)}, ""},
	} {
		r := play(history(append(early[:len(early):len(early)], c.then...)...)).row
		if r.RefusedCode != c.code || (r.Stage == job.StageRefused) != (c.code != "") {
			t.Errorf("%s: %s %q", name, r.Stage, r.RefusedCode)
		}
	}
}
