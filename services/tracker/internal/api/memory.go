package api

import (
	"context"
	"net/http"

	"sori.internal/shared/principal"
)

// Sizes finds the sizes of results.
type Sizes interface {
	// ResultSize returns the size of a job's result in bytes; 0 if the result is small, or if the
	// job has none.
	ResultSize(ctx context.Context, id string) (int64, error)
}

// copies is how many copies of a large result are in memory while a response is made: the result
// that was read, the encoded one, and the one that is being written.
const copies = 3

// withResult wraps a handler whose response may contain the result of the job. If the result is
// large, the handler is called only while memory for it is available.
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
