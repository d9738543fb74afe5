package origin_test

import (
	"fmt"

	"sori.internal/shared/origin"
)

func ExampleList() {
	var allowed origin.List
	if err := allowed.UnmarshalText([]byte("https://*.example.com, http://localhost:*")); err != nil {
		fmt.Println(err)
		return
	}
	for _, header := range []string{"https://app.example.com", "https://example.com", "http://localhost:5173", "null"} {
		fmt.Println(header, allowed.Allows(header))
	}
	// Output:
	// https://app.example.com true
	// https://example.com false
	// http://localhost:5173 true
	// null false
}
