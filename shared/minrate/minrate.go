// Package minrate ends transfers that are too slow. A client that sends or reads a byte now and
// then would otherwise occupy a connection and memory for hours.
//
// A transfer must reach a minimum rate on average. It may fall behind that rate by at most Lag, so
// that a short interruption does not end it. Only the time in which this process waits for the
// other side counts, not the time in which this process works or waits for a dependency.
package minrate

import "time"

// Limit is the minimum rate of a transfer.
type Limit struct {
	BytesPerSecond int64         // 0: any rate, as long as no pause is longer than Lag
	Lag            time.Duration // how far a transfer may fall behind the rate; also the longest pause without a byte
}

// Meter measures one transfer. It must be made by Limit.Meter: the zero Meter allows no time. It is
// not safe for concurrent use.
type Meter struct {
	limit Limit
	late  time.Duration
}

// Meter makes the meter of a transfer that begins.
func (l Limit) Meter() Meter { return Meter{limit: l} }

// Remaining returns how long the transfer of the next n bytes may take. n is 0 for a read, whose
// size is not known in advance.
func (m *Meter) Remaining(n int) time.Duration { return max(0, m.limit.Lag-m.late+m.due(n)) }

// Add records that the transfer of n bytes took the given time.
func (m *Meter) Add(n int, took time.Duration) {
	if m.limit.BytesPerSecond == 0 && n > 0 {
		m.late = 0
		return
	}
	m.late = max(0, m.late+took-m.due(n))
}

// due returns how long n bytes take at the minimum rate.
func (m *Meter) due(n int) time.Duration {
	if m.limit.BytesPerSecond == 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(m.limit.BytesPerSecond) * float64(time.Second))
}
