package job

import (
	"testing"
	"time"

	"sori.internal/shared/event"
)

func TestTheRecordingOfAnEndedJobExpiresWithTheShorterRetention(t *testing.T) {
	t.Parallel()
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	after := func(events ...event.Event) Snapshot {
		r := New(id)
		for i, e := range events {
			r.Merge([]Entry{{Event: e, Seq: uint64(i + 1), Time: at}})
		}
		return r.Snapshot
	}
	received, stored := event.Received{JobID: id}, event.Stored{JobID: id, Bucket: "b", Key: "k"}
	done, canceled := event.Completed{JobID: id, Attempt: 1}, event.Canceled{JobID: id}
	const day, week = 24 * time.Hour, 7 * 24 * time.Hour
	for name, c := range map[string]struct {
		keep Retention
		of   Snapshot
		want time.Duration // 0: never
	}{
		"for ever":         {Retention{}, after(received, stored, done), 0},
		"audio only":       {Retention{Audio: day}, after(received, stored, done), day},
		"the job first":    {Retention{Audio: week, Result: day}, after(received, stored, done), day},
		"the audio first":  {Retention{Audio: day, Result: week}, after(received, stored, done), day},
		"the job only":     {Retention{Result: week}, after(received, stored, done), week},
		"canceled":         {Retention{Audio: day}, after(received, stored, canceled), day},
		"never stored":     {Retention{Audio: day}, after(received, canceled), 0},
		"under way":        {Retention{Audio: day}, after(received, stored), 0},
		"retried":          {Retention{Audio: day}, after(received, stored, event.Failed{JobID: id, Attempt: 1}, event.Retried{JobID: id, Attempt: 2}), 0},
		"deleted already":  {Retention{Audio: day}, after(received, stored, done, event.Expired{JobID: id}), 0},
		"an erased job":    {Retention{Audio: day}, after(received, stored, done, event.Erased{JobID: id}), 0},
		"expired, erased ": {Retention{Audio: day}, after(received, stored, done, event.Expired{JobID: id}, event.Erased{JobID: id}), 0},
	} {
		want := time.Time{}
		if c.want > 0 {
			want = at.Add(c.want)
		}
		if got := c.keep.AudioExpiry(c.of); !got.Equal(want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if c.of.Status == Erased && !c.of.AudioDeletedAt.IsZero() {
			t.Errorf("%s: the tombstone has %s", name, c.of.AudioDeletedAt)
		}
	}
}
