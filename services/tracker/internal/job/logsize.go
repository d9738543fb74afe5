package job

import (
	"slices"
	"strconv"
	"strings"

	"sori.internal/shared/event"
)

// countedEvents is the number of sequences in Record.LogSeqs. A job has about ten events. If a job
// has more, the older events are taken for counted: an old event is not counted again if it is
// redelivered or replayed, but it is never counted if its first delivery comes after countedEvents
// newer events.
const countedEvents = 32

// countSize adds the size of an event to LogBytes, once for each event. An event without a size was
// read from the log, and is counted when the consumer delivers it. An event that the stream removes
// soon is not counted (event.Lifetime). For an erased job only the event `erased` is counted, since
// the other events are removed from the log.
func (r *Record) countSize(e Entry) {
	if e.Size <= 0 || event.Lifetime(e.Event, e.Time) > 0 || r.Status == Erased && e.Event.Name() != event.NameErased {
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

// parseSeqs returns the sequences that formatSeqs has encoded, in ascending order.
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
