package upload

import (
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

const jobID = "01890a5d-ac96-774b-bcce-b302099a8057"

// logOf returns a log of events.
func logOf(events ...event.Event) event.Log { return testkit.LogOf(time.Time{}, events...) }

// Events of the logs below.
var (
	received  = event.Received{JobID: jobID}
	stored    = event.Stored{JobID: jobID}
	failed    = event.Failed{JobID: jobID, Code: "x"}
	retried   = event.Retried{JobID: jobID, Attempt: 1}
	canceled  = event.Canceled{JobID: jobID}
	completed = event.Completed{JobID: jobID, Attempt: 1}
	expired   = event.Expired{JobID: jobID}
	erased    = event.Erased{JobID: jobID}
)

func TestARecordingIsStoredOrFailsOnceAndItsObjectStaysIfItWasStored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log                  event.Log
		stores, fails, keeps bool
	}{
		"no log":                {logOf(), true, false, false},
		"received":              {logOf(received), true, true, false},
		"stored":                {logOf(received, stored), false, false, true},
		"canceled before":       {logOf(received, canceled), false, false, false},
		"canceled after":        {logOf(received, stored, canceled), false, false, true},
		"failed before":         {logOf(received, failed), false, false, false},
		"failed, then retried":  {logOf(received, failed, retried), true, true, false},
		"stored, then retried":  {logOf(received, stored, failed, retried), false, false, true},
		"completed":             {logOf(received, stored, completed), false, false, true},
		"expired":               {logOf(received, stored, completed, expired), false, false, false},
		"all but expired gone":  {logOf(expired), false, false, false},
		"erased before":         {logOf(received, erased), false, false, false},
		"erased after":          {logOf(received, stored, erased), false, false, false},
		"erased and purged":     {logOf(erased), false, false, false},
		"an unreadable failure": {logOf(received, event.Unreadable{JobID: jobID, Of: event.NameFailed}), false, false, false},
	} {
		if e := storeRecording(c.log, stored); (e != nil) != c.stores || c.stores && e != event.Event(stored) {
			t.Errorf("%s: append %+v", name, e)
		}
		want := failed
		want.Attempt = c.log.Attempt()
		if e := failUpload(c.log, failed); (e != nil) != c.fails || c.fails && e != event.Event(want) {
			t.Errorf("%s: append %+v", name, e)
		}
		if keeps := keepsObject(c.log); keeps != c.keeps {
			t.Errorf("%s: the object stays: %v", name, keeps)
		}
	}
}

func TestAnEntryIsNeededUntilItsUploadIsStoredOrAsLongAsAResultIsNamed(t *testing.T) {
	t.Parallel()
	named, err := event.UploadEntry(jobID)
	if err != nil {
		t.Fatal(err)
	}
	result, other := event.ResultEntry(jobID), event.ResultEntry(jobID)
	receivedIn := event.Received{JobID: jobID, Entry: named}
	completedWith := event.Completed{JobID: jobID, Attempt: 1, ResultEntry: result}
	for name, c := range map[string]struct {
		log    event.Log
		entry  string
		needed bool
	}{
		"no log":                         {logOf(), jobID, false},
		"an upload":                      {logOf(received), jobID, true},
		"an upload in a named entry":     {logOf(receivedIn), named, true},
		"another upload":                 {logOf(receivedIn), jobID, false},
		"a stored upload":                {logOf(received, stored), jobID, false},
		"a canceled upload":              {logOf(received, canceled), jobID, false},
		"an erased upload":               {logOf(erased), jobID, false},
		"a log that names no upload":     {logOf(retried), jobID, true},
		"a result, no log":               {logOf(), result, false},
		"a result of an active job":      {logOf(received, stored), result, true},
		"the result of a completed job":  {logOf(received, stored, completedWith), result, true},
		"another result":                 {logOf(received, stored, completedWith), other, false},
		"a result beside an inline one":  {logOf(received, stored, completed), result, false},
		"a result of a canceled job":     {logOf(received, stored, canceled), result, false},
		"a result of an erased job":      {logOf(completedWith, erased), result, false},
		"a result of a job that retries": {logOf(received, stored, failed, retried), result, true},
	} {
		if needed := needsEntry(c.log, c.entry); needed != c.needed {
			t.Errorf("%s: needed %v", name, needed)
		}
	}
}

func TestTheEntryOfAnUploadIsTheOneThatTheLogNames(t *testing.T) {
	t.Parallel()
	for entry, log := range map[string]event.Log{
		jobID: logOf(received),
		"e":   logOf(event.Received{JobID: jobID, Entry: "e"}, stored),
	} {
		if got := uploadEntry(log); got != entry {
			t.Errorf("entry %q, want %q", got, entry)
		}
	}
	if got := uploadEntry(logOf(erased)); got != jobID {
		t.Errorf("of a log without received: %q", got)
	}
}
