package decoding_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"sori.internal/shared/decoding"
)

// The decoder writes frames, and the analyzer reads them.
func Example() {
	var pipe bytes.Buffer
	frames := decoding.NewWriter(&pipe)
	_ = frames.Frame(decoding.TypeReady, nil)
	_ = frames.Frame(decoding.TypeHeader, []byte(`{"codec":"opus","sample_rate":48000,"channels":1}`))
	_ = frames.Frame(decoding.TypeEnd, []byte(`{}`))

	answer := decoding.NewReader(&pipe)
	for {
		kind, body, err := answer.Frame()
		if errors.Is(err, io.EOF) {
			return
		}
		fmt.Println(string(kind), len(body))
	}
	// Output:
	// R 0
	// H 49
	// E 2
}
