package contract

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Answer is the response to a request.
type Answer struct {
	Method string
	Path   string // escaped path of the request, without the query
	Status int
	Header http.Header
	Body   []byte
	Part   bool // Body is incomplete
}

// Components of the document that describe responses without an operation: to a request whose path
// does not exist, to one whose method the path does not allow, to OPTIONS, and to one that was
// rejected before it was routed.
const (
	unrouted   = pointer("/components/responses/Unrouted")
	notAllowed = pointer("/components/responses/MethodNotAllowed")
	options    = pointer("/components/responses/Options")
	refused    = pointer("/components/responses/AnyProblem")
)

// Check returns an error that describes how a response differs from the document, or nil.
func (d *Document) Check(a Answer) error {
	response, ok := d.response(a)
	if !ok {
		return fmt.Errorf("%s %s: the status %d is not documented: %.500s", a.Method, a.Path, a.Status, a.Body)
	}
	if err := d.checkHeaders(response, a.Header); err != nil {
		return fmt.Errorf("%s %s: %d: %w", a.Method, a.Path, a.Status, err)
	}
	if err := d.checkContent(response, a); err != nil {
		return fmt.Errorf("%s %s: %d: %w: %.500s", a.Method, a.Path, a.Status, err, a.Body)
	}
	return nil
}

// response returns the description of a response in the document.
func (d *Document) response(a Answer) (pointer, bool) {
	operation, ok := d.operation(a.Method, a.Path)
	if !ok {
		switch {
		case a.Status == http.StatusNotFound:
			return unrouted, true
		case a.Status == http.StatusMethodNotAllowed:
			return notAllowed, true
		case a.Status == http.StatusNoContent && a.Method == http.MethodOptions:
			return options, true
		default:
			return refused, a.Status >= http.StatusBadRequest
		}
	}
	status := strconv.Itoa(a.Status)
	for _, key := range []string{status, status[:1] + "XX", "default"} {
		if _, at, ok := d.at(operation.to("responses", key)); ok {
			return at, key != "default" || a.Status >= http.StatusBadRequest
		}
	}
	return "", false
}

func (d *Document) checkHeaders(response pointer, header http.Header) error {
	names, at := d.members(response.to("headers"))
	for _, name := range names {
		described, here, _ := d.at(at.to(name))
		required, _ := described.(map[string]any)["required"].(bool)
		lines := header.Values(name)
		if len(lines) == 0 {
			if required {
				return fmt.Errorf("the header %s is missing", name)
			}
			continue
		}
		if err := d.validate(here.to("schema"), d.scalar(here.to("schema"), strings.Join(lines, ", "))); err != nil {
			return fmt.Errorf("the header %s: %w", name, err)
		}
	}
	return nil
}

// scalar converts the text of a header to the type that its schema describes.
func (d *Document) scalar(schema pointer, text string) any {
	if kind, _, _ := d.at(schema.to("type")); kind == "integer" {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	return text
}

// checkContent checks the media type and the body.
func (d *Document) checkContent(response pointer, a Answer) error {
	contents, at := d.members(response.to("content"))
	if len(contents) == 0 || a.Method == http.MethodHead {
		if len(a.Body) > 0 {
			return fmt.Errorf("it has a body")
		}
		return nil
	}
	given := a.Header.Get("Content-Type")
	mediaType, _, err := mime.ParseMediaType(given)
	if err != nil {
		return fmt.Errorf("the media type %q: %w", given, err)
	}
	_, content, ok := d.at(at.to(mediaType))
	switch {
	case !ok:
		return fmt.Errorf("the media type %s is not documented", mediaType)
	case mediaType == "text/event-stream":
		return d.checkEvents(content.to("x-event-data"), a.Body)
	case a.Part || a.Header.Get("Content-Encoding") != "": // the body is incomplete or compressed
		return nil
	case mediaType != "application/json" && !strings.HasSuffix(mediaType, "+json"):
		return nil
	default:
		return d.checkJSON(content.to("schema"), a.Body)
	}
}

// checkEvents checks the data of every complete line of an event stream.
func (d *Document) checkEvents(schema pointer, stream []byte) error {
	for line := range bytes.Lines(stream) {
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok || !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		if err := d.checkJSON(schema, data); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkJSON(schema pointer, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	_, at, ok := d.at(schema)
	if !ok {
		return fmt.Errorf("there is no schema at %s", schema)
	}
	return d.validate(at, value)
}
