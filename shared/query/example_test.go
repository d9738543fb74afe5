package query_test

import (
	"fmt"
	"net/url"

	"sori.internal/shared/query"
)

func ExampleParams() {
	values, _ := url.ParseQuery("limit=20&token_id=x")
	p := query.Params{Get: values.Get}
	fmt.Println(p.Integer("limit", 50, 1, 200), p.ID("token_id"))
	fmt.Println(p.Err())
	// Output:
	// 20 0
	// validation-failed: The request breaks one or more rules.
}

func ExampleLink() {
	fmt.Println(query.Link("/actors/%EA%B9%80", url.Values{"limit": {"10"}, "skip": {"20"}}, "next"))
	// Output: </actors/%EA%B9%80?limit=10&skip=20>; rel="next"
}
