//go:build !unix

package decode

import "context"

// lock does nothing on this system: processes that build the decoder at the same time do the same work, with the same
// result.
func lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }
