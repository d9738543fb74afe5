// Package contract checks the responses of an HTTP API against its OpenAPI 3.1 document.
//
// It checks that the document describes the route, the status, the headers, the media type and the
// body of a response. The schemas of OpenAPI 3.1 are JSON Schema 2020-12, so a validator for JSON
// Schema is enough. A Transport checks every response that a test receives through it.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"sori.internal/shared/apispec"
)

// base is the URL of the document for the validator.
const base = "sori:document"

// Document is an OpenAPI document. It is safe for concurrent use.
type Document struct {
	text  []byte
	root  any
	paths []template

	mu       sync.Mutex // guards the fields below
	compiler *jsonschema.Compiler
	schemas  map[pointer]*jsonschema.Schema
}

// Sori returns the OpenAPI document of Sori. It is parsed once.
func Sori() (*Document, error) { return sori() }

//nolint:gochecknoglobals // it is parsed once for all tests of a package, and never changed
var sori = sync.OnceValues(func() (*Document, error) { return Parse(apispec.OpenAPI()) })

// Parse reads a document, in YAML or JSON.
func Parse(text []byte) (*Document, error) {
	root, err := values(text)
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	closeObjects(root)
	d := &Document{text: text, root: root, compiler: jsonschema.NewCompiler(), schemas: map[pointer]*jsonschema.Schema{}}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(base, root); err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	paths, _ := d.members("/paths")
	for _, path := range paths {
		d.paths = append(d.paths, newTemplate(path))
	}
	return d, nil
}

// values decodes YAML or JSON to the types of the validator.
func values(text []byte) (any, error) {
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err //nolint:wrapcheck // the caller adds which text could not be decoded
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text)) //nolint:wrapcheck // as above
}

// closeObjects makes every schema reject members that the document does not define. Clients must
// ignore unknown members, but the document must define all of them.
func closeObjects(value any) {
	switch v := value.(type) {
	case []any:
		for _, member := range v {
			closeObjects(member)
		}
	case map[string]any:
		for key, member := range v {
			switch key {
			case "example", "examples", "value":
				continue
			case "schema", "x-event-data", "items":
				closeObject(member)
			case "properties":
				properties, _ := member.(map[string]any)
				for _, property := range properties {
					closeObject(property)
				}
			}
			closeObjects(member)
		}
	}
}

func closeObject(schema any) {
	object, _ := schema.(map[string]any)
	for _, key := range []string{"$ref", "properties", "allOf", "oneOf"} {
		if _, ok := object[key]; ok {
			object["unevaluatedProperties"] = false
		}
	}
}

// pointer is a JSON pointer into the document (RFC 6901).
type pointer string

func (p pointer) to(keys ...string) pointer {
	for _, k := range keys {
		p += pointer("/" + strings.ReplaceAll(strings.ReplaceAll(k, "~", "~0"), "/", "~1"))
	}
	return p
}

// at returns the value at a pointer, and the pointer to the value after references are resolved.
func (d *Document) at(p pointer) (any, pointer, bool) {
	here, found := d.root, pointer("")
	for key := range strings.SplitSeq(strings.TrimPrefix(string(p), "/"), "/") {
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
		var ok bool
		switch in := here.(type) {
		case map[string]any:
			here, ok = in[key]
		case []any:
			if i, err := strconv.Atoi(key); err == nil && i < len(in) {
				here, ok = in[i], true
			}
		}
		if !ok {
			return nil, p, false
		}
		found = found.to(key)
		if object, isObject := here.(map[string]any); isObject {
			if ref, refers := object["$ref"].(string); refers && len(object) == 1 {
				if here, found, ok = d.at(pointer(strings.TrimPrefix(ref, "#"))); !ok {
					return nil, p, false
				}
			}
		}
	}
	return here, found, true
}

// members returns the sorted keys of the object at a pointer, and the resolved pointer of the
// object.
func (d *Document) members(p pointer) ([]string, pointer) {
	value, found, _ := d.at(p)
	object, _ := value.(map[string]any)
	keys := make([]string, 0, len(object))
	for k := range object {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys, found
}

// validate checks a value against the schema at a pointer.
func (d *Document) validate(p pointer, value any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema, ok := d.schemas[p]
	if !ok {
		var err error
		if schema, err = d.compiler.Compile(base + "#" + string(p)); err != nil {
			return fmt.Errorf("compile schema: %w", err)
		}
		d.schemas[p] = schema
	}
	return schema.Validate(value) //nolint:wrapcheck // the caller adds what was validated
}

// Operations returns the routes of the document, as "GET /path/{name}", without a trailing slash.
func (d *Document) Operations() []string {
	var all []string
	for _, t := range d.paths {
		keys, _ := d.members(t.at)
		for _, k := range keys {
			if method := strings.ToUpper(k); slices.Contains(methods(), method) {
				all = append(all, method+" "+t.path)
			}
		}
	}
	return all
}

func methods() []string {
	return []string{"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"}
}

// template is a path of the document.
type template struct {
	path     string
	at       pointer
	segments []string
}

func newTemplate(path string) template {
	t := template{path: "/" + strings.Trim(path, "/"), at: pointer("/paths").to(path)}
	t.segments = strings.Split(t.path, "/")
	return t
}

// fit returns how many segments of a path are equal to those of the template, and whether the path
// matches.
func (t template) fit(segments []string) (int, bool) {
	same := 0
	if len(segments) != len(t.segments) {
		return 0, false
	}
	for i, s := range t.segments {
		switch {
		case s == segments[i]:
			same++
		case !strings.HasPrefix(s, "{") || segments[i] == "":
			return 0, false
		}
	}
	return same, true
}

// operation finds the operation of a request. The operation of GET also describes HEAD, unless the
// path has an operation for HEAD.
func (d *Document) operation(method, path string) (pointer, bool) {
	found, ok := d.operationOf(method, path)
	if !ok && method == "HEAD" {
		return d.operationOf("GET", path)
	}
	return found, ok
}

func (d *Document) operationOf(method, path string) (pointer, bool) {
	segments := strings.Split("/"+strings.Trim(path, "/"), "/")
	found, best := pointer(""), -1
	for _, t := range d.paths {
		if same, fits := t.fit(segments); fits && same > best {
			if _, at, ok := d.at(t.at.to(strings.ToLower(method))); ok {
				found, best = at, same
			}
		}
	}
	return found, best >= 0
}
