package api

import (
	"strings"
	"testing"
)

func TestTheDocumentIsWrittenInItsOrderAndWithItsVersion(t *testing.T) {
	t.Parallel()
	text, err := Document(`1.2 "3"`, "/api")
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for _, part := range []string{`{"openapi":"3.1.0",`, `"version":"1.2 \"3\""`, `"servers":[{"url":"/api",`, `"/tokens/{token_id}/upload-audio"`, `"/jobs/"`, `"webhooks"`, `"components"`} {
		at := strings.Index(string(text), part)
		if at <= last {
			t.Errorf("%s is at %d, behind %d", part, at, last)
		}
		last = at
	}
}
