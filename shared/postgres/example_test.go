package postgres_test

import (
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"sori.internal/shared/fault"
	"sori.internal/shared/postgres"
)

// Translate gives an error of the driver a kind. The SQLSTATE of the error determines the kind.
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
