package api

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/metrics"
	"sori.internal/shared/testkit/contract"
)

func documented(t *testing.T) *contract.Document {
	t.Helper()
	text, err := documentJSON("1.2.3", "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := contract.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDocumentIsOpenAPI(t *testing.T) {
	t.Parallel()
	d := documented(t)
	if err := d.Validate(); err != nil {
		t.Errorf("%v", err)
	}
	n, err := d.CheckExamples()
	if err != nil {
		t.Error(err)
	}
	if n < 50 {
		t.Errorf("only %d examples were found", n)
	}
}

func TestTheDocumentIsWrittenInItsOrderAndWithItsVersion(t *testing.T) {
	t.Parallel()
	text, err := documentJSON(`1.2 "3"`, "/api")
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

// parameter is a part of a path that stands for any text, as both write it.
var parameter = regexp.MustCompile(`:\w+|{\w+}`)

func plainly(operations []string) []string {
	for i, o := range operations {
		operations[i] = strings.TrimSuffix(parameter.ReplaceAllString(o, "{}"), "/")
	}
	slices.Sort(operations)
	return operations
}

func TestRoutesAndDocumentNameTheSame(t *testing.T) {
	t.Parallel()
	docs, err := NewDocs("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Routes: Routes{
		Metrics: metrics.New(), Docs: docs,
		Tokens: struct{ TokenStore }{}, Scripts: struct{ ScriptStore }{}, Actors: struct{ ActorStore }{},
	}}
	var routed []string
	for _, r := range s.app(t.Context(), t.Context(), t.Context()).GetRoutes(true) {
		if r.Method != "HEAD" { // which every GET has
			routed = append(routed, r.Method+" "+r.Path)
		}
	}
	routed = plainly(routed)
	named := plainly(documented(t).Operations())
	for _, o := range named {
		if !slices.Contains(routed, o) {
			t.Errorf("%s is documented and has no route", o)
		}
	}
	for _, o := range routed {
		if !slices.Contains(named, o) {
			t.Errorf("%s is not documented", o)
		}
	}
}
