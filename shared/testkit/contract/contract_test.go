package contract_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sori.internal/shared/testkit/contract"
)

// small is the OpenAPI document of a small API.
const small = `
openapi: 3.1.0
jsonSchemaDialect: https://spec.openapis.org/oas/3.1/dialect/base
info: {title: small, version: '1'}
paths:
  /things/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
    get:
      responses:
        '200':
          description: a thing
          headers:
            ETag: {required: true, schema: {type: string, pattern: '^"'}}
            Retry-After: {schema: {type: integer}}
          content:
            application/json: {schema: {$ref: '#/components/schemas/Thing'}, example: {name: a, of: {name: b}}}
        '204': {description: nothing}
        4XX: {$ref: '#/components/responses/AnyProblem'}
  /things/newest/:
    get:
      responses:
        '200':
          description: a stream
          content:
            text/event-stream:
              schema: {type: string}
              x-event-data: {$ref: '#/components/schemas/Thing'}
              example: "id: 1\ndata: {\"name\": \"a\"}\n\n"
        default: {$ref: '#/components/responses/AnyProblem'}
webhooks:
  made:
    post:
      parameters: [{name: Idempotency-Key, in: header, required: true, schema: {type: string}}]
      requestBody:
        content:
          application/json: {schema: {$ref: '#/components/schemas/Thing'}}
          application/x-www-form-urlencoded: {schema: {$ref: '#/components/schemas/Thing'}}
      responses: {2XX: {description: fine}}
components:
  responses:
    AnyProblem: {description: a problem, content: {application/problem+json: {schema: {type: object, required: [code], properties: {code: {enum: [broken]}}}}}}
    Unrouted: {description: a problem, content: {application/problem+json: {schema: {type: object, required: [code], properties: {code: {enum: [nowhere]}}}}}}
  schemas:
    Thing:
      type: object
      required: [name]
      properties: {name: {type: string}, of: {$ref: '#/components/schemas/Thing'}}
`

func parse(t *testing.T, text string) *contract.Document {
	t.Helper()
	d, err := contract.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tells checks that an error contains the text want, or that there is no error if want is "".
func tells(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%v does not tell %q", err, want)
	}
}

func TestAnAnswerIsAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	d := parse(t, small)
	const asJSON, problem, stream = "application/json; charset=utf-8", "application/problem+json", "text/event-stream"
	for _, c := range []struct {
		request, mediaType, tag string
		status                  int
		body, want              string
	}{
		{"GET /things/1", asJSON, `"1"`, 200, `{"name":"a","of":{"name":"b"}}`, ""},
		{"GET /things/1/", asJSON, `"1"`, 200, `{"name":"a"}`, ""},
		{"HEAD /things/1", asJSON, `"1"`, 200, "", ""},
		{"HEAD /things/1", asJSON, `"1"`, 200, "x", "has a body"},
		{"GET /things/1", asJSON, "", 200, `{"name":"a"}`, "ETag is missing"},
		{"GET /things/1", asJSON, `1`, 200, `{"name":"a"}`, "the header ETag"},
		{"GET /things/1", asJSON, `"1"`, 200, `{}`, "missing property 'name'"},
		{"GET /things/1", asJSON, `"1"`, 200, `{"name":7}`, "want string"},
		{"GET /things/1", asJSON, `"1"`, 200, `{"name":"a","more":1}`, "more"},
		{"GET /things/1", asJSON, `"1"`, 200, `{"name":"a","of":{"name":"b","more":1}}`, "more"},
		{"GET /things/1", asJSON, `"1"`, 200, `{"name":`, "not JSON"},
		{"GET /things/1", "text/html", `"1"`, 200, `{"name":"a"}`, "text/html is not documented"},
		{"GET /things/1", "", `"1"`, 200, `{"name":"a"}`, "the media type"},
		{"GET /things/1", "", "", 204, "", ""},
		{"GET /things/1", "", "", 204, "x", "has a body"},
		{"GET /things/1", "", "", 201, "", "201 is not documented"},
		{"GET /things/1", problem, "", 404, `{"code":"broken"}`, ""},
		{"GET /things/1", problem, "", 404, `{"code":"other"}`, "value must be 'broken'"},
		{"GET /things/newest", stream, "", 200, "retry: 1\n\n: ping\n\ndata: {\"name\":\"a\"}\n\ndata: {\"na", ""},
		{"GET /things/newest", stream, "", 200, "data: {\"name\":\"a\"}\n\ndata: {}\n\n", "missing property"},
		{"GET /things/newest", problem, "", 500, `{"code":"broken"}`, ""},
		{"GET /things/newest", "", "", 302, "", "302 is not documented"},
		{"PUT /things/1", problem, "", 404, `{"code":"nowhere"}`, ""},
		{"GET /nowhere", problem, "", 404, `{"code":"nowhere"}`, ""},
		{"GET /things/", problem, "", 404, `{"code":"broken"}`, "nowhere"},
		{"GET /nowhere", problem, "", 431, `{"code":"broken"}`, ""},
		{"GET /nowhere", asJSON, "", 200, `{}`, "200 is not documented"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		header := http.Header{}
		for name, value := range map[string]string{"Content-Type": c.mediaType, "ETag": c.tag} {
			if value != "" {
				header.Set(name, value)
			}
		}
		err := d.Check(contract.Answer{Method: method, Path: path, Status: c.status, Header: header, Body: []byte(c.body)})
		if tells(t, err, c.want); t.Failed() {
			t.Fatalf("%+v", c)
		}
	}
}

func TestANumberInAHeaderIsOne(t *testing.T) {
	t.Parallel()
	d := parse(t, small)
	for value, want := range map[string]string{"7": "", "soon": "Retry-After"} {
		tells(t, d.Check(contract.Answer{
			Method: "GET", Path: "/things/1", Status: 200, Body: []byte(`{"name":"a"}`),
			Header: http.Header{"Content-Type": {"application/json"}, "Etag": {`"1"`}, "Retry-After": {value}},
		}), want)
	}
}

func TestAWebhookIsAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	d := parse(t, small)
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct{ name, mediaType, key, body, want string }{
		{"made", "application/json", "k", `{"name":"a"}`, ""},
		{"made", form, "k", "name=a", ""},
		{"made", form, "k", "name=a&more=b", "more"},
		{"made", form, "k", "%", "invalid URL escape"},
		{"made", form, "", "name=a", "Idempotency-Key is missing"},
		{"made", "text/plain", "k", "a", "not documented"},
		{"made", "", "k", "a", "media type"},
		{"lost", form, "k", "name=a", "no webhook"},
	} {
		tells(t, d.CheckWebhook(c.name, http.Header{"Content-Type": {c.mediaType}, "Idempotency-Key": {c.key}}, []byte(c.body)), c.want)
	}
}

func TestTheDocumentItselfIsChecked(t *testing.T) {
	t.Parallel()
	tells(t, parse(t, small).Validate(), "")
	if n, err := parse(t, small).CheckExamples(); err != nil || n != 2 {
		t.Errorf("%d examples, %v", n, err)
	}
	for broken, with := range map[string]string{
		"description: nothing": "summary: nothing", "{type: integer}": "{type: integral}", "4XX:": "4xx:",
	} {
		if parse(t, strings.ReplaceAll(small, broken, with)).Validate() == nil {
			t.Errorf("%s is taken", with)
		}
	}
	for broken, with := range map[string]string{
		"example: {name: a,": "example: {name: 1,", `{\"name\": \"a\"}`: "{}", "'#/components/schemas/Thing'}}\n          application": "'#/components/schemas/None'}}\n          application",
	} {
		if _, err := parse(t, strings.ReplaceAll(small, broken, with)).CheckExamples(); err == nil {
			t.Errorf("%s is taken", with)
		}
	}
	if _, err := contract.Parse([]byte("a: [")); err == nil {
		t.Error("a document that is no YAML is taken")
	}
	if got := parse(t, small).Operations(); len(got) != 2 || got[1] != "GET /things/{id}" {
		t.Errorf("the operations are %q", got)
	}
}

func TestATransportChecksWhatPasses(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"1"`)
		_, _ = io.WriteString(w, r.URL.Query().Get("body"))
	}))
	t.Cleanup(server.Close)
	for query, want := range map[string]string{
		`?body={"name":"a"}`: "", `?body={}`: "missing property", `?body={}&part=1`: "", `?body={}&exempt=1`: "",
	} {
		var found []error
		client := http.Client{Transport: &contract.Transport{
			Base: http.DefaultTransport, Document: parse(t, small), Report: func(err error) { found = append(found, err) },
			Exempt: func(r *http.Response) bool { return r.Request.URL.Query().Has("exempt") },
		}}
		resp, err := client.Get(server.URL + "/things/1" + query)
		if err != nil {
			t.Fatal(err)
		}
		if !resp.Request.URL.Query().Has("part") {
			_, _ = io.ReadAll(resp.Body)
		}
		_ = resp.Body.Close()
		if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || !strings.Contains(found[0].Error(), want)) {
			t.Errorf("%s: %v", query, found)
		}
	}
}
