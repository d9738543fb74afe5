package event

import "strconv"

// TokenDeleted says that a token is gone from the catalogue. Its jobs go with it,
// those too that are yet to be heard of, whose uploads were under way; its id is
// never given again. Published by the gateway, on a stream of its own; heard by the
// tracker.
type TokenDeleted struct {
	TokenID int64 `json:"token_id"`
}

// Name implements Event.
func (e TokenDeleted) Name() Name { return NameDeleted }

// Job implements Event: it is about no single job.
func (e TokenDeleted) Job() string { return "" }

// Occurrence implements Event.
func (e TokenDeleted) Occurrence() string { return "" }

// EntityID is the id of the job or the token that an event is about: ce-subject.
func EntityID(e Event) string {
	if t, ok := e.(TokenDeleted); ok {
		return strconv.FormatInt(t.TokenID, 10)
	}
	return e.Job()
}
