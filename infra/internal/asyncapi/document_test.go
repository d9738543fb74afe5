// Package asyncapi_test checks that shared/apispec/asyncapi.yaml is valid AsyncAPI, and
// that it agrees with the event types of the services and with the messages on NATS.
package asyncapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"sori.internal/shared/apispec"
	"sori.internal/shared/event"
)

// documentURI is the URI of the document, to which each $ref is relative.
const documentURI = "https://sori.internal/asyncapi.json"

// document is the AsyncAPI document as decoded JSON.
type document struct {
	t    testing.TB
	tree any
}

func read(t testing.TB) document {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(apispec.AsyncAPI(), &tree); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return document{t, parse(t, asJSON)}
}

func parse(t testing.TB, text []byte) any {
	t.Helper()
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return tree
}

// at returns the part of the document at a path, or nil if there is none. It follows
// references.
func (d document) at(path ...string) any {
	part := d.tree
	for _, name := range path {
		object, _ := part.(map[string]any)
		part = d.follow(object[name])
	}
	return part
}

func (d document) follow(part any) any {
	object, _ := part.(map[string]any)
	if ref, ok := object["$ref"].(string); ok {
		return d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return part
}

// names returns the sorted names of the members of the object at a path.
func (d document) names(path ...string) []string {
	object, _ := d.at(path...).(map[string]any)
	return sorted(object)
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// schema returns the schema of a message's payload or headers, which allows no other
// members. It returns nil if the document has no such schema.
func (d document) schema(message, part string) *jsonschema.Schema {
	d.t.Helper()
	if d.at("components", "messages", message, part) == nil {
		return nil
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	strict := map[string]any{"$ref": documentURI + "#/components/messages/" + message + "/" + part, "unevaluatedProperties": false}
	for url, tree := range map[string]any{documentURI: d.tree, "https://sori.internal/strict.json": strict} {
		if err := c.AddResource(url, tree); err != nil {
			d.t.Fatal(err)
		}
	}
	s, err := c.Compile("https://sori.internal/strict.json")
	if err != nil {
		d.t.Fatalf("%s of %s: %v", part, message, err)
	}
	return s
}

func TestTheDocumentIsAsyncAPI(t *testing.T) {
	t.Parallel()
	d := read(t)
	packed, err := os.Open("testdata/asyncapi-3.0.0.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	text, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := jsonschema.UnmarshalJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	const official = "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
	c := jsonschema.NewCompiler()
	if err := c.AddResource(official, tree); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(official)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(d.tree); err != nil {
		t.Error(err)
	}
	if err := schema.Validate(map[string]any{"asyncapi": "3.0.0"}); err == nil {
		t.Error("anything is taken for AsyncAPI")
	}
}

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	t.Parallel()
	d := read(t)
	seen := map[string]bool{}
	var walk func(part any)
	walk = func(part any) {
		switch part := part.(type) {
		case map[string]any:
			if ref, ok := part["$ref"].(string); ok {
				seen[ref] = true
				if d.follow(part) == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, below := range part {
				walk(below)
			}
		case []any:
			for _, below := range part {
				walk(below)
			}
		}
	}
	walk(d.tree)
	for _, kind := range []string{"messages", "schemas", "parameters"} {
		for _, name := range d.names("components", kind) {
			if !seen["#/components/"+kind+"/"+name] {
				t.Errorf("nothing refers to %s %s", kind, name)
			}
		}
	}
	for _, name := range d.names("channels") {
		if !seen["#/channels/"+name] {
			t.Errorf("nobody is at %s", name)
		}
	}
}

// eventNames returns the names of the events in the source code.
func eventNames(t testing.TB) []string {
	t.Helper()
	source, err := os.ReadFile("../../../shared/event/event.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^\tName\w+ +Name = "(\w+)"( //.*)?$`).FindAllSubmatch(source, -1) {
		names = append(names, string(found[1]))
	}
	if len(names) < 13 {
		t.Fatalf("the names are written in another way: %v", names)
	}
	return names
}

// members returns the names of the JSON members of an event's struct, and whether each is
// always present.
func members(e event.Event) map[string]bool {
	found := map[string]bool{}
	shape := reflect.TypeOf(e)
	for i := range shape.NumField() {
		name, options, _ := strings.Cut(shape.Field(i).Tag.Get("json"), ",")
		found[name] = !strings.Contains(options, "omit")
	}
	return found
}

// subjectOf returns the parts of the subject of an event: the root, the id of the job or
// the token, and the name of that parameter in the document.
func subjectOf(t *testing.T, name event.Name, golden []byte) (root, about, parameter string) {
	t.Helper()
	var known struct {
		JobID   string      `json:"job_id"`
		TokenID json.Number `json:"token_id"`
	}
	if err := json.Unmarshal(golden, &known); err != nil {
		t.Fatal(err)
	}
	switch {
	case name == event.NameDeleted:
		return "audio.tokens.", known.TokenID.String(), "{token_id}"
	case name.Progress():
		return "audio.progress.", known.JobID, "{job_id}"
	default:
		return "audio.jobs.", known.JobID, "{job_id}"
	}
}

func TestEveryEventIsDocumentedMemberByMember(t *testing.T) {
	t.Parallel()
	d := read(t)
	for _, name := range eventNames(t) {
		golden, err := os.ReadFile("../../../shared/event/testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		root, about, parameter := subjectOf(t, event.Name(name), golden)
		e, err := event.Decode(root+about+"."+name, golden)
		if err != nil {
			t.Fatal(err)
		}
		if address := d.at("channels", name, "address"); address != root+parameter+"."+name {
			t.Errorf("%s is at %v", name, address)
		}
		if message := d.at("channels", name, "messages", name); message == nil || !reflect.DeepEqual(message, d.at("components", "messages", name)) {
			t.Errorf("the channel %s has not the message of its name", name)
		}
		schema := d.schema(name, "payload")
		if schema == nil {
			t.Errorf("%s has no schema", name)
			continue
		}
		if err := schema.Validate(parse(t, golden)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var always []string
		for _, member := range d.at("components", "schemas", name, "required").([]any) {
			always = append(always, fmt.Sprint(member))
		}
		told, has := d.names("components", "schemas", name, "properties"), members(e)
		if !slices.Equal(told, sorted(has)) {
			t.Errorf("%s has the members %v, and the document tells of %v", name, sorted(has), told)
		}
		for member, mustBe := range has {
			if slices.Contains(always, member) != mustBe {
				t.Errorf("%s: whether %s is always there is told otherwise", name, member)
			}
		}
		var ends [2]bool
		for _, operation := range d.names("operations") {
			if strings.HasSuffix(operation, ".sends."+name) {
				ends[0] = true
			} else if strings.HasSuffix(operation, ".receives."+name) {
				ends[1] = true
			}
		}
		if ends != [2]bool{true, true} {
			t.Errorf("%s is said and heard: %v", name, ends)
		}
	}
}

func TestEveryOperationIsWhatItsNameSays(t *testing.T) {
	t.Parallel()
	d := read(t)
	for _, name := range d.names("operations") {
		parts := strings.Split(name, ".")
		raw, _ := d.tree.(map[string]any)["operations"].(map[string]any)[name].(map[string]any)
		channel, _ := raw["channel"].(map[string]any)
		tags, _ := raw["tags"].([]any)
		action := map[string]string{"sends": "send", "requests": "send", "receives": "receive"}[parts[1]]
		if len(parts) != 3 || raw["action"] != action || channel["$ref"] != "#/channels/"+parts[2] || len(tags) != 1 || fmt.Sprint(tags[0]) != "map[name:"+parts[0]+"]" {
			t.Errorf("%s: %v", name, raw)
		}
	}
}
