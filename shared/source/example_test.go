package source_test

import (
	"fmt"

	"sori.internal/shared/source"
)

// Public addresses are allowed, and what the operator lists.
func ExampleAllowed() {
	var a source.Allowed
	_ = a.UnmarshalText([]byte("media.internal:9000"))
	for _, url := range []string{"https://example.com/a.wav", "http://media.internal:9000/a.wav", "http://127.0.0.1/a.wav"} {
		_, err := a.Parse(url)
		fmt.Println(url, err)
	}
	// Output:
	// https://example.com/a.wav <nil>
	// http://media.internal:9000/a.wav <nil>
	// http://127.0.0.1/a.wav must not name an address of a private network
}
