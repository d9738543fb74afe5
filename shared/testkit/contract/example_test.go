package contract_test

import (
	"fmt"
	"net/http"

	"sori.internal/shared/testkit/contract"
)

func ExampleDocument_Check() {
	document, err := contract.Parse([]byte(`
openapi: 3.1.0
info: {title: example, version: "1"}
paths:
  /jobs/{id}:
    get:
      responses:
        "200":
          description: the job
          content:
            application/json:
              schema: {type: object, required: [status], properties: {status: {enum: [processing, completed]}}}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := contract.Answer{
		Method: http.MethodGet, Path: "/jobs/7", Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"status":"completed"}`),
	}
	fmt.Println(document.Check(answer))
	answer.Body = []byte(`{"status":"finished"}`)
	fmt.Println(document.Check(answer) != nil)
	// Output:
	// <nil>
	// true
}
