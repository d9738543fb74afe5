package job_test

import (
	"testing"
	"time"

	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/locale"
)

func TestEveryStageHasASentenceOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, l := range []locale.Language{locale.Korean, locale.English} {
		stages := map[string]job.Stage{}
		for _, s := range job.Stages() {
			text := s.Text(l, time.Time{}, "")
			if other, ok := stages[text]; ok || text == string(s) {
				t.Errorf("%s: %s has the sentence %q, as has %q", l, s, text, other)
			}
			stages[text] = s
		}
	}
}
