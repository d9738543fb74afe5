package analysis

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/fault"
)

func compressed(t *testing.T, text string, open func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	w := open(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(w io.Writer) io.WriteCloser  { return gzip.NewWriter(w) }
func deflated(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }
func bare(w io.Writer) io.WriteCloser {
	f, _ := flate.NewWriter(w, flate.DefaultCompression)
	return f
}

func TestEveryFormOfACallbackIsParsed(t *testing.T) {
	t.Parallel()
	const (
		form = "application/x-www-form-urlencoded"
		json = "application/json"
	)
	for name, c := range map[string]struct {
		body     Body
		status   string
		result   string
		warnings []string
		percent  int
	}{
		"a byte order mark":   {Body{Bytes: []byte("\xef\xbb\xbf {\"analysis_results\":{\"a\":1}}")}, "completed", `{"a":1}`, nil, 0},
		"NaN and infinities":  {Body{Bytes: []byte(`{"analysis_results":{"a":NaN,"b":[-Infinity,Infinity,1.5],"c":"NaN \" Infinity"}}`)}, "completed", `{"a":null,"b":[null,null,1.5],"c":"NaN \" Infinity"}`, []string{"non-finite-numbers"}, 0},
		"result":              {Body{Bytes: []byte(`{"status":"completed","result":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"result alone":        {Body{Bytes: []byte(`{"result":[1]}`)}, "completed", `[1]`, nil, 0},
		"both":                {Body{Bytes: []byte(`{"analysis_results":{"a":1},"result":"x"}`)}, "completed", `{"a":1}`, nil, 0},
		"capitals":            {Body{Bytes: []byte(`{"status":" COMPLETED ","analysis_results":{}}`)}, "completed", `{}`, nil, 0},
		"success":             {Body{Bytes: []byte(`{"status":"success","analysis_results":{}}`)}, "completed", `{}`, nil, 0},
		"succeeded":           {Body{Bytes: []byte(`{"status":"Succeeded","analysis_results":{}}`)}, "completed", `{}`, nil, 0},
		"ok":                  {Body{Bytes: []byte(`{"status":"ok","result":{}}`)}, "completed", `{}`, nil, 0},
		"without results":     {Body{Bytes: []byte(`{"status":"done"}`)}, "completed", `{}`, []string{"no-results"}, 0},
		"with null":           {Body{Bytes: []byte(`{"status":"completed","analysis_results":null}`)}, "completed", `{}`, []string{"no-results"}, 0},
		"with NaN for all":    {Body{Bytes: []byte(`{"status":"completed","analysis_results":NaN}`)}, "completed", `{}`, []string{"no-results", "non-finite-numbers"}, 0},
		"error":               {Body{Bytes: []byte(`{"status":"error","error":"x"}`)}, "failed", "", nil, 0},
		"Failure":             {Body{Bytes: []byte(`{"status":"Failure"}`)}, "failed", "", nil, 0},
		"an error alone":      {Body{Bytes: []byte(`{"error":"x"}`)}, "failed", "", nil, 0},
		"running":             {Body{Bytes: []byte(`{"status":"RUNNING","progress":"50"}`)}, "processing", "", nil, 50},
		"a percent sign":      {Body{Bytes: []byte(`{"status":"in-progress","progress":" 12.5% "}`)}, "processing", "", nil, 12},
		"pending, no number":  {Body{Bytes: []byte(`{"status":"pending"}`)}, "processing", "", nil, 0},
		"gzip":                {Body{Bytes: compressed(t, `{"result":{"a":1}}`, gzipped), Encoding: "gzip"}, "completed", `{"a":1}`, nil, 0},
		"x-gzip":              {Body{Bytes: compressed(t, `{"result":{"a":1}}`, gzipped), Encoding: "X-GZIP"}, "completed", `{"a":1}`, nil, 0},
		"deflate":             {Body{Bytes: compressed(t, `{"result":{"a":1}}`, deflated), Encoding: "deflate"}, "completed", `{"a":1}`, nil, 0},
		"bare deflate":        {Body{Bytes: compressed(t, `{"result":{"a":1}}`, bare), Encoding: "deflate"}, "completed", `{"a":1}`, nil, 0},
		"identity":            {Body{Bytes: []byte(`{"result":{}}`), Encoding: "identity"}, "completed", `{}`, nil, 0},
		"a form":              {Body{Bytes: []byte(`status=completed&analysis_results=%7B%22a%22%3ANaN%7D`), Type: form + "; charset=utf-8"}, "completed", `{"a":null}`, []string{"non-finite-numbers"}, 0},
		"a form of progress":  {Body{Bytes: []byte(`status=processing&progress=40&message=hm`), Type: form}, "processing", "", nil, 40},
		"a form of a failure": {Body{Bytes: []byte(`status=failed&error=no+speech&code=no-speech&retryable=false`), Type: form}, "failed", "", nil, 0},
		"JSON called a form":  {Body{Bytes: []byte(`{"result":{"a":1}}`), Type: form}, "completed", `{"a":1}`, nil, 0},
		"JSON":                {Body{Bytes: []byte(`{"result":{"a":1}}`), Type: json}, "completed", `{"a":1}`, nil, 0},
	} {
		c.body.Limit = 1000
		r, err := c.body.parse()
		if err != nil || r.status != c.status || string(r.result) != c.result || !slices.Equal(r.warnings, c.warnings) || r.percent != c.percent {
			t.Errorf("%s: %+v, result %s, %v", name, r, r.result, err)
		}
		if name == "a form of a failure" && (r.reason != "no speech" || r.code != "no-speech" || r.retryable) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestABodyThatCannotBeDecodedIsRefusedWithACode(t *testing.T) {
	t.Parallel()
	large := `{"result":"` + strings.Repeat("x", 100_000) + `"}`
	for name, c := range map[string]struct {
		body Body
		code string
	}{
		"brotli":                 {Body{Bytes: []byte("x"), Encoding: "br"}, "unsupported-encoding"},
		"twice":                  {Body{Bytes: []byte("x"), Encoding: "gzip, gzip"}, "unsupported-encoding"},
		"no gzip":                {Body{Bytes: []byte("{}"), Encoding: "gzip"}, "malformed-request"},
		"cut gzip":               {Body{Bytes: compressed(t, `{"result":{"a":1}}`, gzipped)[:20], Encoding: "gzip"}, "malformed-request"},
		"no deflate":             {Body{Bytes: []byte("{}"), Encoding: "deflate"}, "malformed-request"},
		"more than may be":       {Body{Bytes: compressed(t, large, gzipped), Encoding: "gzip"}, "too-large"},
		"more, by deflate":       {Body{Bytes: compressed(t, large, bare), Encoding: "deflate"}, "too-large"},
		"words of another kind":  {Body{Bytes: []byte(`{"result":Nan}`)}, "malformed-json"},
		"a word too many":        {Body{Bytes: []byte(`{"result":NaN NaN}`)}, "malformed-json"},
		"a string without end":   {Body{Bytes: []byte(`{"result":NaN,"a":"\`)}, "malformed-json"},
		"a form of nothing":      {Body{Type: "application/x-www-form-urlencoded"}, "validation-failed"},
		"a form that is none":    {Body{Bytes: []byte("a=%zz"), Type: "application/x-www-form-urlencoded"}, "malformed-request"},
		"infinite progress":      {Body{Bytes: []byte(`{"status":"running","progress":"Infinity"}`)}, "validation-failed"},
		"progress beyond bounds": {Body{Bytes: []byte(`{"status":"running","progress":"101"}`)}, "validation-failed"},
	} {
		c.body.Limit = 1000
		if _, err := c.body.parse(); fault.As(err) == nil || fault.As(err).Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}
