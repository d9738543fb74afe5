package postgres_test

import (
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
)

// Translate returns an error of the driver with a kind, by its SQLSTATE.
func ExampleTranslate() {
	for _, state := range []pqerror.Code{"57P01", "23514", "42P01"} {
		err := postgres.Translate("store job 7", &pq.Error{Code: state})
		fmt.Println(state, fault.KindOf(err))
	}
	// Output:
	// 57P01 unavailable
	// 23514 invalid
	// 42P01 internal
}
