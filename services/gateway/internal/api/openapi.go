package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"

	"sori.internal/shared/apispec"
)

// Document returns the OpenAPI document as JSON, in the order of its YAML. It sets the version of
// the service and the prefix of the paths.
func Document(version, prefix string) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(apispec.OpenAPI(), &root); err != nil {
		return nil, fmt.Errorf("read the API's document: %w", err)
	}
	if v := member(member(root.Content[0], "info"), "version"); v != nil {
		v.SetString(version)
	}
	if servers := member(root.Content[0], "servers"); servers != nil {
		if url := member(servers.Content[0], "url"); url != nil {
			url.SetString(cmp.Or(prefix, "/"))
		}
	}
	var text bytes.Buffer
	if err := writeJSON(&text, root.Content[0]); err != nil {
		return nil, fmt.Errorf("write the API's document: %w", err)
	}
	return text.Bytes(), nil
}

// member returns the value of a key of a mapping; nil if it has no such key.
func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// writeJSON writes a node as JSON. A conversion to Go maps would lose the order of the members,
// which makes the document readable.
func writeJSON(text *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.AliasNode:
		return writeJSON(text, n.Alias)
	case yaml.MappingNode:
		return writeList(text, "{}", n.Content, func(i int) string {
			if i%2 == 0 {
				return ","
			}
			return ":"
		})
	case yaml.SequenceNode:
		return writeList(text, "[]", n.Content, func(int) string { return "," })
	default:
		var v any
		if err := n.Decode(&v); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		enc := json.NewEncoder(text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		text.Truncate(text.Len() - 1) // the line break that Encode appends
		return nil
	}
}

// writeList writes nodes between brackets, with a separator before each but the first.
func writeList(text *bytes.Buffer, brackets string, nodes []*yaml.Node, separator func(i int) string) error {
	text.WriteByte(brackets[0])
	for i, n := range nodes {
		if i > 0 {
			text.WriteString(separator(i))
		}
		if err := writeJSON(text, n); err != nil {
			return err
		}
	}
	text.WriteByte(brackets[1])
	return nil
}
