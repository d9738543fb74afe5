package job

import (
	"slices"
	"strconv"
	"strings"

	"sori.internal/shared/event"
)

// countedEvents is how many sequences a record keeps of the events whose sizes it has counted. A
// job has about ten events. If it has more, an older event counts as counted: it is not counted
// again if it is redelivered or replayed, and it is not counted at all if it is delivered for the
// first time after as many newer events of the job.
const countedEvents = 32

// countSize adds the size of an event to the size of the job's log, once. An event without a size
// was read from the log: it is counted when it is delivered. The log of an erased job has no event
// but erased.
func (r *Record) countSize(e Entry) {
	if e.Size <= 0 || r.Status == Erased && e.Event.Name() != event.NameErased {
		return
	}
	seqs := parseSeqs(r.LogSeqs)
	i, counted := slices.BinarySearch(seqs, e.Seq)
	if counted || i == 0 && len(seqs) >= countedEvents {
		return
	}
	r.LogBytes += e.Size
	seqs = slices.Insert(seqs, i, e.Seq)
	r.LogSeqs = formatSeqs(seqs[max(0, len(seqs)-countedEvents):])
}

// parseSeqs returns the sequences in a text that formatSeqs has made, in ascending order.
func parseSeqs(text string) []uint64 {
	var seqs []uint64
	for field := range strings.FieldsSeq(text) {
		if seq, err := strconv.ParseUint(field, 10, 64); err == nil {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

func formatSeqs(seqs []uint64) string {
	var text []byte
	for i, seq := range seqs {
		if i > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendUint(text, seq, 10)
	}
	return string(text)
}
