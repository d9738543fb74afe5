package api

import (
	"context"
	"net/http"

	"sori.internal/shared/principal"
)

// Sizes finds the sizes of results.
type Sizes interface {
	// ResultSize returns the size of a job's result in bytes; 0 if it is small, or if there is none.
	ResultSize(ctx context.Context, id string) (int64, error)
}

// copies is how many times a large result is in memory while a response with it is made: as it was
// read, as it is encoded, and as it is written.
const copies = 3

// withResult makes a handler whose response may contain the result of the job. It bounds the memory
// of large results.
func (a *API) withResult(h jobHandler) jobHandler {
	return func(w http.ResponseWriter, r *http.Request, id string) error {
		size, err := a.Sizes.ResultSize(r.Context(), id)
		if err != nil {
			return err
		}
		if size == 0 {
			return h(w, r, id)
		}
		lease, err := a.memory.Acquire(r.Context(), principal.From(r.Context()).Owner, copies*size)
		if err != nil {
			return err
		}
		defer lease.Release()
		return h(w, r, id)
	}
}
