package main

import (
	"testing"

	"sori.internal/shared/bus"
	"sori.internal/shared/event"
)

func TestEachDifferenceHasItsNameAndWhatIsUnderWayHasNone(t *testing.T) {
	t.Parallel()
	// The log's last sequence was 100 when the bucket was listed, 120 when the log was read,
	// and 130 after everything was read. Its first sequence is 10. The tracker had acked the
	// events up to 110, and the uploader had handled erasures up to 90.
	s := &survey{listed: 100, cleared: 90, settled: 110, read: 120, after: bus.StreamInfo{FirstSeq: 10, LastSeq: 130}}
	log := func(last uint64, names ...event.Name) (states []state) {
		for i, n := range names {
			states = append(states, state{last - uint64(len(names)-1-i), n})
		}
		return states
	}
	of := func(status string, seq uint64) *record {
		return &record{Status: status, StateSeq: seq, Shown: true, Key: "k"}
	}
	some := []string{"audio/x_a.wav"}
	complete := []event.Name{event.NameReceived, event.NameStored, event.NameCompleted}
	for name, c := range map[string]struct {
		known known
		want  [2]kind // the findings about the row and about the object
	}{
		"all is well":                       {known{log(50, complete...), of("completed", 50), some}, [2]kind{}},
		"not settled yet":                   {known{log(115, event.NameReceived), nil, nil}, [2]kind{}},
		"the last is not settled yet":       {known{log(111, complete...), of("processing", 110), some}, [2]kind{}},
		"recorded after the log was read":   {known{log(110, event.NameReceived), of("completed", 125), some}, [2]kind{}},
		"begun after the log was read":      {known{nil, of("processing", 125), nil}, [2]kind{}},
		"completed after the listing":       {known{log(105, complete...), of("completed", 105), nil}, [2]kind{}},
		"retried":                           {known{log(50, event.NameReceived, event.NameStored, event.NameFailed, event.NameRetried), of("processing", 50), some}, [2]kind{}},
		"lapsed":                            {known{log(50, event.NameReceived, event.NameStored, event.NameLapsed), of("processing", 50), some}, [2]kind{}},
		"a retry that is not recorded":      {known{log(50, event.NameReceived, event.NameStored, event.NameFailed, event.NameRetried), of("failed", 49), some}, [2]kind{rowBehind}},
		"an event that is not known here":   {known{log(50, "received", "stored", "archived"), of("failed", 50), nil}, [2]kind{}},
		"the log has expired":               {known{nil, of("completed", 5), some}, [2]kind{}},
		"half of the log has expired":       {known{log(50, event.NameCompleted), of("completed", 50), some}, [2]kind{}},
		"no record":                         {known{log(50, complete...), nil, some}, [2]kind{rowMissing}},
		"a record without its beginning":    {known{log(50, complete...), &record{Status: "completed", StateSeq: 50}, some}, [2]kind{rowMissing}},
		"a record behind":                   {known{log(50, complete...), of("processing", 49), some}, [2]kind{rowBehind}},
		"a record of another end":           {known{log(50, complete...), of("canceled", 50), some}, [2]kind{rowDiffers}},
		"a record of a lost event":          {known{log(50, complete...), of("completed", 60), some}, [2]kind{rowAhead}},
		"a record of a lost log":            {known{nil, of("completed", 99), some}, [2]kind{rowAhead}},
		"a record of a stream before":       {known{nil, of("completed", 9000), some}, [2]kind{rowAhead}},
		"a record whose log expired midway": {known{nil, of("processing", 5), nil}, [2]kind{rowAbandoned}},
		"no recording":                      {known{log(50, complete...), of("completed", 50), nil}, [2]kind{"", objectMissing}},
		"no recording of an old job":        {known{nil, of("completed", 5), nil}, [2]kind{"", objectMissing}},
		"the recording has expired":         {known{log(50, append(complete, event.NameExpired)...), of("completed", 49), nil}, [2]kind{}},
		"an old recording has expired":      {known{nil, &record{Status: "completed", StateSeq: 5, Shown: true, Key: "k", AudioDeleted: true}, nil}, [2]kind{}},
		"a recording of nobody":             {known{nil, nil, some}, [2]kind{"", objectOrphan}},
		"a recording that was given up":     {known{log(50, event.NameReceived, event.NameCanceled), of("canceled", 50), some}, [2]kind{"", objectOrphan}},
		"erased":                            {known{log(50, event.NameErased), of("erased", 50), nil}, [2]kind{}},
		"erased, its log not forgotten":     {known{log(50, event.NameReceived, event.NameErased), of("erased", 50), nil}, [2]kind{}},
		"erased, its log expired":           {known{nil, of("erased", 5), nil}, [2]kind{}},
		"erased, its recording in hand":     {known{log(95, event.NameReceived, event.NameErased), of("erased", 95), some}, [2]kind{}},
		"erased, and its recording left":    {known{log(50, event.NameErased), of("erased", 50), some}, [2]kind{"", objectOrphan}},
		"erased long ago, and still there":  {known{nil, of("erased", 5), some}, [2]kind{"", objectOrphan}},
		"erased, and no record of it":       {known{log(50, event.NameErased), nil, nil}, [2]kind{rowMissing}},
		"erased, and a record of before":    {known{log(50, event.NameErased), of("completed", 40), nil}, [2]kind{rowBehind}},
		"a recording of a failed analysis":  {known{log(50, event.NameReceived, event.NameStored, event.NameFailed), of("failed", 50), some}, [2]kind{}},
	} {
		if got := [2]kind{s.judgeRow(&c.known).Kind, s.judgeObject(&c.known).Kind}; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
