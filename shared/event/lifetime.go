package event

import "time"

// keepWaiting is how long a waiting event is kept after the time when its attempt is sent again, so
// that a tracker that is behind still gets it.
const keepWaiting = 10 * time.Minute

// Lifetime returns how long the stream keeps an event that is published now; 0 if the event stays
// as long as any other. While the analysis server is unavailable, every job that waits for it has a
// new waiting event each minute. If these events were kept as long as other events, they would fill
// the stream within a day, and uploads would be refused until the events reached the maximum age of
// the stream.
func Lifetime(e Event, now time.Time) time.Duration {
	if w, ok := e.(Waiting); ok && !w.Until.IsZero() {
		return max(w.Until.Sub(now), 0) + keepWaiting
	}
	return 0
}
