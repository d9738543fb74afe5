package bus

import "testing"

func TestThreeDefectsOfEachOfManyMessagesAreCounted(t *testing.T) {
	t.Parallel()
	const consumers, pending = 4, 10_000 // MaxAckPending
	var x defects
	for inRow := 1; inRow <= minDefects; inRow++ {
		for i := range consumers * pending {
			d := delivered{string(rune('a' + i%consumers)), uint64(i)}
			if n := x.observe(d, true); n != inRow {
				t.Fatalf("message %d: %d instead of %d", i, n, inRow)
			}
		}
	}
	for i := range 3 * maxDefective { // other replicas settle all of them
		x.observe(delivered{"e", uint64(i)}, true)
	}
	if len(x.inRow) > maxDefective {
		t.Errorf("%d messages are remembered", len(x.inRow))
	}
}
