package client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sori.internal/infra/internal/client"
)

func TestOnlyWholeEventsAreRead(t *testing.T) {
	t.Parallel()
	const stream = "retry: 2000\nid: 1\ndata: {\"a\":1}\n\n: ping\n\nid: 2\ndata:x\n\ndata: y\n\nid: 3\ndata: cut"
	var got []client.Event
	err := client.ReadEvents(strings.NewReader(stream), "0", func(e client.Event) error {
		got = append(got, e)
		return nil
	})
	want := []client.Event{{ID: "1", Data: `{"a":1}`}, {ID: "2", Data: "x"}, {ID: "2", Data: "y"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAReaderMayStop(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	err := client.ReadEvents(strings.NewReader("data: 1\n\ndata: 2\n\n"), "", func(e client.Event) error {
		if e.Data != "1" {
			t.Errorf("went on to %q", e.Data)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Error(err)
	}
}
