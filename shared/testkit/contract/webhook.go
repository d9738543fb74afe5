package contract

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
)

// CheckWebhook returns an error that describes how a request that the API sends differs from the
// webhook with the given name in the document: in a required header, or in the body. It returns nil
// if the request does not differ.
func (d *Document) CheckWebhook(name string, header http.Header, body []byte) error {
	_, operation, ok := d.at(pointer("/webhooks").to(name, "post"))
	if !ok {
		return fmt.Errorf("there is no webhook %s", name)
	}
	parameters, _, _ := d.at(operation.to("parameters"))
	list, _ := parameters.([]any)
	for _, p := range list {
		p, _ := p.(map[string]any)
		field, _ := p["name"].(string)
		if p["in"] == "header" && p["required"] == true && header.Get(field) == "" {
			return fmt.Errorf("webhook %s: the header %s is missing", name, field)
		}
	}
	given := header.Get("Content-Type")
	mediaType, _, err := mime.ParseMediaType(given)
	if err != nil {
		return fmt.Errorf("webhook %s: the media type %q: %w", name, given, err)
	}
	_, schema, ok := d.at(operation.to("requestBody", "content", mediaType, "schema"))
	if !ok {
		return fmt.Errorf("webhook %s: the media type %s is not documented", name, mediaType)
	}
	if mediaType != "application/x-www-form-urlencoded" {
		return d.checkJSON(schema, body)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return fmt.Errorf("webhook %s: %w", name, err)
	}
	fields := map[string]any{}
	for field := range form {
		fields[field] = form.Get(field)
	}
	return d.validate(schema, fields)
}
