package conditional_test

import (
	"fmt"

	"sori.internal/shared/conditional"
)

func ExampleParse() {
	header := []string{`"1", W/"2"`}
	fmt.Println(conditional.Parse(header).MatchWeak(`"2"`)) // true: respond with 304 Not Modified
	fmt.Println(conditional.Parse(header).MatchWeak(`"3"`)) // false: respond with 200 OK
	// Output:
	// true
	// false
}
