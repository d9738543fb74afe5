// Package catalogue is what the catalogue knows and which rules its entries
// keep. An input that breaks rules is refused with all of them at once, so that
// a form can be mended in one go.
//
// Every entry has a version, which each change raises. Who changes an entry may
// name the versions that the change is meant for: of two who edit the same one,
// the second is told instead of overwriting the first.
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

// MaxPage is the longest page.
const MaxPage = 500

// Match is the versions of an entry that a change is meant for. Nil is any, an
// empty one none.
type Match []int64

// NotFound is the failure to find an entry of a kind, which is "token", "script"
// or "actor".
func NotFound(kind string, id int64) error {
	return fault.New(fault.NotFound, kind+"-not-found", fmt.Sprintf("There is no %s %d.", kind, id))
}

// CodeStale is the code of a change that meets another version than it is meant
// for.
const CodeStale = "precondition-failed"

// Stale is the failure of such a change.
func Stale() error {
	return fault.New(fault.Conflict, CodeStale, "It has been changed by somebody else. Please read it again.")
}
