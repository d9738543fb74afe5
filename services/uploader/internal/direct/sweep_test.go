package direct

import (
	"testing"
	"time"
)

func TestAFormIsAskedAboutLessOftenTheOlderItIs(t *testing.T) {
	t.Parallel()
	asked := 0
	last := 0
	for round := range 24 * 3600 {
		if !isDue(time.Duration(round)*time.Second, uint(round)) {
			continue
		}
		if pause := round - last; pause > 1+round/5 {
			t.Errorf("at %d s nobody has asked for %d s", round, pause)
		}
		asked, last = asked+1, round
	}
	if asked < 50 || asked > 200 {
		t.Errorf("a form is asked about %d times in a day", asked)
	}
}
