package client_test

import (
	"fmt"
	"strings"

	"sori.internal/infra/internal/client"
)

func ExampleReadEvents() {
	stream := "retry: 2000\nid: 2\ndata: {\"progress\":70}\n\n: comment\n\nid: 4\ndata: {\"progress\":100}\n\n"
	err := client.ReadEvents(strings.NewReader(stream), "", func(e client.Event) error {
		fmt.Println(e.ID, e.Data)
		return nil
	})
	fmt.Println(err)
	// Output:
	// 2 {"progress":70}
	// 4 {"progress":100}
	// <nil>
}
