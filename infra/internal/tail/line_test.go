package tail

import (
	"strings"
	"testing"
	"time"

	"sori.internal/shared/event"
)

func TestColoursTellEndingsApartAndPlainHasNone(t *testing.T) {
	t.Parallel()
	const job = "01890a5d-ac96-774b-bcce-b302099a8057"
	used := map[string]event.Name{}
	for _, name := range []event.Name{event.NameReceived, event.NameStored, event.NameCompleted, event.NameFailed, event.NameCanceled} {
		subject := event.SubjectOf(job, name)
		coloured := painter{}.line(time.Now(), subject, nil, []byte(`{}`))
		color, _, _ := strings.Cut(strings.SplitN(coloured, "\x1b[", 4)[3], "m")
		if other, taken := used[color]; taken {
			t.Errorf("%s and %s look alike", name, other)
		}
		used[color] = name
		if plain := (painter{plain: true}).line(time.Now(), subject, nil, []byte(`{}`)); strings.Contains(plain, "\x1b") {
			t.Errorf("plain: %q", plain)
		}
	}
}
