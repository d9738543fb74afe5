package fault_test

import (
	"errors"
	"fmt"

	"sori.internal/shared/fault"
)

func Example() {
	cause := errors.New("dial tcp 10.0.0.7:5432: connection refused")
	err := fmt.Errorf("store job 7: %w", fault.Unreachable("database", cause))

	fmt.Println(fault.KindOf(err), fault.KindOf(err).Retryable())
	fmt.Println(fault.As(err).Detail)   // detail for the client
	fmt.Println(errors.Is(err, cause))  // the cause is kept for the log
	fmt.Println(fault.KindOf(cause))    // an error without a kind
	fmt.Println(fault.As(cause).Detail) // clients do not see the cause
	// Output:
	// unavailable true
	// The database cannot be reached right now. Please try again.
	// true
	// internal
	// Something went wrong on our side.
}
