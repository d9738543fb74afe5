package event

import "strconv"

// TokenDeleted means that a token was deleted from the catalogue. The tracker erases its jobs,
// including jobs whose upload is accepted later. The id is never used again. Published by the
// gateway, in a separate stream; consumed by the tracker.
type TokenDeleted struct {
	TokenID int64 `json:"token_id"`
}

// Name implements Event.
func (e TokenDeleted) Name() Name { return NameDeleted }

// Job implements Event. The event belongs to no job.
func (e TokenDeleted) Job() string { return "" }

// Occurrence implements Event.
func (e TokenDeleted) Occurrence() string { return "" }

// EntityID returns the id of the job or the token that an event is about. It is in the header
// ce-subject.
func EntityID(e Event) string {
	if t, ok := e.(TokenDeleted); ok {
		return strconv.FormatInt(t.TokenID, 10)
	}
	return e.Job()
}
