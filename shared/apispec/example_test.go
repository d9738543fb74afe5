package apispec_test

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"sori.internal/shared/apispec"
)

func Example() {
	for _, text := range [][]byte{apispec.OpenAPI(), apispec.AsyncAPI()} {
		var document struct{ OpenAPI, AsyncAPI string }
		if err := yaml.Unmarshal(text, &document); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(document.OpenAPI + document.AsyncAPI)
	}
	// Output:
	// 3.1.0
	// 3.0.0
}
