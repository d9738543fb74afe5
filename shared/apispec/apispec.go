// Package apispec contains the two contracts of Sori with its clients and its operators: the
// OpenAPI document of the HTTP API and the AsyncAPI document of the messages on NATS.
//
// The gateway serves the OpenAPI document. The tests of every service check its responses against
// that document, and infra/internal/asyncapi checks the AsyncAPI document against the events and
// the messages.
package apispec

import _ "embed" // embeds the documents

//go:embed openapi.yaml
var openAPI string

//go:embed asyncapi.yaml
var asyncAPI string

// OpenAPI returns the OpenAPI 3.1 document, as YAML.
func OpenAPI() []byte { return []byte(openAPI) }

// AsyncAPI returns the AsyncAPI 3 document, as YAML.
func AsyncAPI() []byte { return []byte(asyncAPI) }
