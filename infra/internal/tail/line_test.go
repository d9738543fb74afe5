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

// An operator may tail any subject, also one that names no job.
func TestASubjectOutsideTheLogIsNamed(t *testing.T) {
	t.Parallel()
	const job = "01890a5d-ac96-774b-bcce-b302099a8057"
	for subject, want := range map[string]string{
		"audio.live." + job:       "live " + job,
		"audio.results.owner.12":  "results owner.12",
		"limits.usage":            "usage",
		"hello":                   "hello",
		"limits.\x1b[2J.a\u202eb": "·[2J a·b",
	} {
		line := painter{plain: true}.line(time.Now(), subject, nil, nil)
		if _, got, _ := strings.Cut(line, " "); strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("%q: %q, want %q", subject, line, want)
		}
	}
}
