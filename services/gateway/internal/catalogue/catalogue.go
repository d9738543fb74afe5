// Package catalogue has the entries of the catalogue (tokens, scripts, actors) and their rules. If
// an input breaks rules, the failure names all of them, so that a client can correct them together.
//
// Every entry has a version, which each change increments. A change may name the versions that it
// applies to (optimistic concurrency): if two clients edit the same version, the second change
// fails instead of overwriting the first.
package catalogue

import (
	"fmt"

	"sori.internal/shared/fault"
)

// Page is a part of a list.
type Page struct {
	Skip  int64
	Limit int64
}

// MaxPage is the largest limit of a page.
const MaxPage = 500

// MaxText is the largest number of bytes of scripts and translations in a response. Without it, a
// page of the longest scripts would have 40 MB.
const MaxText = 2 << 20

// List is a page of a list. More reports whether further entries follow this page.
type List[T any] struct {
	Entries []T
	More    bool
}

// Match lists the versions of an entry to which a change applies. A nil Match means any version, an
// empty Match means no version.
type Match []int64

// NotFound returns the failure of a request for an entry that does not exist. kind is "token",
// "script" or "actor".
func NotFound(kind string, id int64) error {
	return fault.New(fault.NotFound, kind+"-not-found", fmt.Sprintf("There is no %s %d.", kind, id))
}

// VersionMismatch returns the failure of a change that does not apply to the current version.
func VersionMismatch() error {
	return fault.New(fault.PreconditionFailed, "precondition-failed", "It has been changed by somebody else. Please read it again.")
}
