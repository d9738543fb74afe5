package invariants

import (
	"strings"
	"testing"
)

func TestAJobHasEndedOnceItsEndAndItsAcceptanceAreRecorded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows map[string]Row
		want string // expected part of the error
	}{
		"both are recorded":              {map[string]Row{job: {JobID: job, Status: "completed", Version: 3}}, ""},
		"it is under way":                {map[string]Row{job: {JobID: job, Status: Processing, Version: 2}}, "has not ended"},
		"it has no row":                  {nil, "has no row"},
		"its acceptance is not recorded": {map[string]Row{job: {JobID: job, Status: "completed"}}, "acceptance is not recorded"},
		"erased, without an acceptance":  {map[string]Row{job: {JobID: job, Status: "erased"}}, ""},
		"another job is under way":       {map[string]Row{job: {JobID: job, Status: "failed", Version: 3}, "other": {JobID: "other", Status: Processing, Version: 1}}, "other has not ended"},
	} {
		err := Ended(c.rows, []string{job})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
