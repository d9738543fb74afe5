package bus

import "sync"

// minDefects is how many internal errors in a row a message must have had in this process before it
// becomes a dead letter. The number of its deliveries alone does not suffice: a message that has
// waited for a dependency has many, and a single unexpected error after that, such as an unusual
// answer of S3, must not fail its job.
const minDefects = 3

// maxDefective limits how many messages are remembered: another replica may settle one of them. It is
// larger than the number of messages that the consumers of a service may hold unsettled at a time
// (Consumer.MaxPending): otherwise, if all of them fail, none would ever be counted three times.
const maxDefective = 200_000

// defects counts the internal errors in a row of each message. The zero value is ready for use.
type defects struct {
	mu    sync.Mutex
	inRow map[delivered]int
}

// delivered identifies a message of a consumer.
type delivered struct {
	consumer string
	seq      uint64
}

// observe records whether a delivery of a message failed with an internal error, and returns how
// many have done so in a row.
func (x *defects) observe(d delivered, internal bool) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !internal {
		delete(x.inRow, d)
		return 0
	}
	if _, known := x.inRow[d]; x.inRow == nil || !known && len(x.inRow) >= maxDefective {
		x.inRow = map[delivered]int{}
	}
	x.inRow[d]++
	return x.inRow[d]
}
