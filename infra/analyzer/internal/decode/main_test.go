package decode

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"sori.internal/shared/decoding"
)

// The memory limits that tell the stub of the decoder how it starts.
const (
	memoryTooSmall = 1 // it ends with an error
	memoryForever  = 2 // it is never ready
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-cache" {
		if err := stub(os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, "stub:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// stub is a decoder whose answer to a request is the content of the recording. It ends after an answer without an end.
func stub(memory string) error {
	requests := bufio.NewScanner(os.Stdin)
	switch memory {
	case fmt.Sprint(memoryTooSmall):
		return os.ErrInvalid
	case fmt.Sprint(memoryForever):
		requests.Scan()
		return nil
	}
	if err := decoding.NewWriter(os.Stdout).Frame(decoding.TypeReady, nil); err != nil {
		return err
	}
	for requests.Scan() {
		request, err := decoding.ParseRequest(requests.Bytes())
		if err != nil {
			return err
		}
		answer, err := os.ReadFile(request.Path)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(answer); err != nil || !ends(answer) {
			return err
		}
	}
	return requests.Err()
}

// ends reports whether an answer consists of whole frames, of which the last is the end.
func ends(answer []byte) bool {
	frames := decoding.NewReader(bytes.NewReader(answer))
	for last := byte(0); ; {
		kind, _, err := frames.Frame()
		if err != nil {
			return errors.Is(err, io.EOF) && last == decoding.TypeEnd
		}
		last = kind
	}
}
