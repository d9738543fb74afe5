package problem_test

import (
	"encoding/json"
	"fmt"

	"sori.internal/shared/fault"
	"sori.internal/shared/problem"
)

func ExampleFrom() {
	err := fault.New(fault.NotFound, "job-not-found", "There is no such job.")
	document := problem.From(err, problem.Request{Path: "/jobs/7", ID: "r-1", AcceptLanguage: "en"})
	body, _ := json.MarshalIndent(document, "", "  ")
	fmt.Println(document.Status)
	fmt.Println(string(body))
	// Output:
	// 404
	// {
	//   "code": "job-not-found",
	//   "detail": "There is no such job.",
	//   "instance": "/jobs/7",
	//   "request_id": "r-1",
	//   "status": 404,
	//   "title": "Not Found",
	//   "type": "urn:sori:problem:job-not-found"
	// }
}
