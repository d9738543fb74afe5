package contract

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The schemas of OpenAPI 3.1 documents from spec.openapis.org (Apache-2.0).
//
//go:embed oas31
var oas31 embed.FS

// specification is the base URL of these schemas.
const specification = "https://spec.openapis.org/oas/3.1/"

// Validate checks the document against the schema of OpenAPI 3.1, and the schemas in the document
// against the schema of JSON Schema.
func (d *Document) Validate() error {
	c := jsonschema.NewCompiler()
	for name, url := range map[string]string{
		"schema": "schema", "schema-base": "schema-base", "dialect": "dialect/base", "meta": "meta/base",
	} {
		text, err := oas31.ReadFile("oas31/" + name + ".json")
		if err != nil {
			return fmt.Errorf("read a schema of OpenAPI: %w", err)
		}
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("read a schema of OpenAPI: %w", err)
		}
		if err := c.AddResource(specification+url, schema); err != nil {
			return fmt.Errorf("read a schema of OpenAPI: %w", err)
		}
	}
	schema, err := c.Compile(specification + "schema-base")
	if err != nil {
		return fmt.Errorf("compile the schema of OpenAPI: %w", err)
	}
	root, err := values(d.text)
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	return schema.Validate(root) //nolint:wrapcheck // the error contains the positions of the violations
}

// CheckExamples checks that every reference can be resolved, and every example against its schema.
// It returns the number of examples.
func (d *Document) CheckExamples() (int, error) {
	var w walk
	w.visit(d, "", d.root)
	return w.examples, errors.Join(w.broken...)
}

// walk visits every value of the document.
type walk struct {
	examples int
	broken   []error
}

func (w *walk) visit(d *Document, here pointer, value any) {
	switch v := value.(type) {
	case []any:
		for i, member := range v {
			w.visit(d, here.to(strconv.Itoa(i)), member)
		}
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			if _, _, ok := d.at(pointer(ref[1:])); !ok {
				w.broken = append(w.broken, fmt.Errorf("%s leads nowhere: %s", here, ref))
			}
		}
		for _, example := range d.examples(here, v) {
			w.examples++
			w.try(d, here, example)
		}
		for key, member := range v {
			if !slices.Contains([]string{"example", "examples", "value"}, key) {
				w.visit(d, here.to(key), member)
			}
		}
	}
}

// examples returns the examples of a media type, a parameter or a header.
func (d *Document) examples(here pointer, object map[string]any) []any {
	var all []any
	if _, ok := object["schema"]; !ok {
		return nil
	}
	if one, ok := object["example"]; ok {
		all = append(all, one)
	}
	names, at := d.members(here.to("examples"))
	for _, name := range names {
		if value, _, ok := d.at(at.to(name)); ok {
			all = append(all, value.(map[string]any)["value"])
		}
	}
	return all
}

func (w *walk) try(d *Document, here pointer, example any) {
	_, schema, _ := d.at(here.to("schema"))
	if err := d.validate(schema, example); err != nil {
		w.broken = append(w.broken, fmt.Errorf("an example of %s: %w", here, err))
	}
	if events, at, ok := d.at(here.to("x-event-data")); ok && events != nil {
		if text, _ := example.(string); d.checkEvents(at, []byte(text)) != nil {
			w.broken = append(w.broken, fmt.Errorf("an example of %s: %w", here, d.checkEvents(at, []byte(text))))
		}
	}
}
