package analysis

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
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

// utf16 encodes a text in UTF-16, little-endian.
func utf16(text string) []byte {
	var b []byte
	for _, r := range text { // every rune is in the Basic Multilingual Plane, so it is one unit
		b = append(b, byte(r), byte(r>>8))
	}
	return b
}

// manyFields returns a multipart form with more than maxFields fields before the field with the
// results.
func manyFields() []byte {
	var b bytes.Buffer
	for i := range maxFields + 1 {
		fmt.Fprintf(&b, "--b\r\nContent-Disposition: form-data; name=\"x%d\"\r\n\r\n1\r\n", i)
	}
	b.WriteString("--b\r\nContent-Disposition: form-data; name=\"result\"\r\n\r\n{}\r\n--b--")
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
		"a byte order mark":    {Body{Bytes: []byte("\xef\xbb\xbf {\"analysis_results\":{\"a\":1}}")}, "completed", `{"a":1}`, nil, 0},
		"NaN and infinities":   {Body{Bytes: []byte(`{"analysis_results":{"a":NaN,"b":[-Infinity,Infinity,1.5],"c":"NaN \" Infinity"}}`)}, "completed", `{"a":null,"b":[null,null,1.5],"c":"NaN \" Infinity"}`, []string{"non-finite-numbers"}, 0},
		"result":               {Body{Bytes: []byte(`{"status":"completed","result":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"result alone":         {Body{Bytes: []byte(`{"result":[1]}`)}, "completed", `[1]`, nil, 0},
		"both":                 {Body{Bytes: []byte(`{"analysis_results":{"a":1},"result":"x"}`)}, "completed", `{"a":1}`, nil, 0},
		"capitals":             {Body{Bytes: []byte(`{"status":" COMPLETED ","analysis_results":{}}`)}, "completed", `{}`, nil, 0},
		"success":              {Body{Bytes: []byte(`{"status":"success","analysis_results":{}}`)}, "completed", `{}`, nil, 0},
		"succeeded":            {Body{Bytes: []byte(`{"status":"Succeeded","analysis_results":{}}`)}, "completed", `{}`, nil, 0},
		"ok":                   {Body{Bytes: []byte(`{"status":"ok","result":{}}`)}, "completed", `{}`, nil, 0},
		"without results":      {Body{Bytes: []byte(`{"status":"done"}`)}, "completed", `{}`, []string{"no-results"}, 0},
		"with null":            {Body{Bytes: []byte(`{"status":"completed","analysis_results":null}`)}, "completed", `{}`, []string{"no-results"}, 0},
		"with NaN for all":     {Body{Bytes: []byte(`{"status":"completed","analysis_results":NaN}`)}, "completed", `{}`, []string{"no-results", "non-finite-numbers"}, 0},
		"error":                {Body{Bytes: []byte(`{"status":"error","error":"x"}`)}, "failed", "", nil, 0},
		"Failure":              {Body{Bytes: []byte(`{"status":"Failure"}`)}, "failed", "", nil, 0},
		"an error alone":       {Body{Bytes: []byte(`{"error":"x"}`)}, "failed", "", nil, 0},
		"camel case":           {Body{Bytes: []byte(`{"status":"COMPLETED","analysisResults":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"Pascal case":          {Body{Bytes: []byte(`{"Status":"Completed","AnalysisResults":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"a form, camel case":   {Body{Bytes: []byte(`status=ok&analysisResults=%7B%22a%22%3A1%7D`), Type: form}, "completed", `{"a":1}`, nil, 0},
		"a state":              {Body{Bytes: []byte(`{"task-id":"x","state":"SUCCESS","result":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"a state of failure":   {Body{Bytes: []byte(`{"task-id":"x","state":"FAILURE","result":"ValueError()"}`)}, "failed", "", nil, 0},
		"a state of progress":  {Body{Bytes: []byte(`{"state":"PROGRESS","status":"Half of it is done","progress":50}`)}, "processing", "", nil, 50},
		"a state, no results":  {Body{Bytes: []byte(`{"state":"done"}`)}, "completed", `{}`, []string{"no-results"}, 0},
		"another state":        {Body{Bytes: []byte(`{"state":"Texas","result":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"a status and a state": {Body{Bytes: []byte(`{"status":"failed","state":"done"}`)}, "failed", "", nil, 0},
		"active":               {Body{Bytes: []byte(`{"status":"active"}`)}, "processing", "", nil, 0},
		"waiting for children": {Body{Bytes: []byte(`{"status":"waiting-children"}`)}, "processing", "", nil, 0},
		"deferred":             {Body{Bytes: []byte(`{"status":"deferred"}`)}, "processing", "", nil, 0},
		"runnable":             {Body{Bytes: []byte(`{"status":"RUNNABLE"}`)}, "processing", "", nil, 0},
		"no success":           {Body{Bytes: []byte(`{"success":false,"results":[1],"error":null}`)}, "failed", "", nil, 0},
		"a form of no success": {Body{Bytes: []byte(`success=false&result=%7B%7D&error=x`), Type: form}, "failed", "", nil, 0},
		"a success":            {Body{Bytes: []byte(`{"success":true,"results":[1],"error":null}`)}, "completed", `[1]`, nil, 0},
		"nothing and an error": {Body{Bytes: []byte(`{"analysis_results":{ },"error":"x"}`)}, "failed", "", nil, 0},
		"nothing, no error":    {Body{Bytes: []byte(`{"analysis_results":{},"error":""}`)}, "completed", `{}`, nil, 0},
		"results and an error": {Body{Bytes: []byte(`{"analysis_results":{"a":1},"error":"x"}`)}, "completed", `{"a":1}`, nil, 0},
		"a status, an error":   {Body{Bytes: []byte(`{"status":"completed","analysis_results":{},"error":"x"}`)}, "completed", `{}`, nil, 0},
		"running":              {Body{Bytes: []byte(`{"status":"RUNNING","progress":"50"}`)}, "processing", "", nil, 50},
		"a percent sign":       {Body{Bytes: []byte(`{"status":"in-progress","progress":" 12.5% "}`)}, "processing", "", nil, 12},
		"pending, no number":   {Body{Bytes: []byte(`{"status":"pending"}`)}, "processing", "", nil, 0},
		"gzip":                 {Body{Bytes: compressed(t, `{"result":{"a":1}}`, gzipped), Encoding: "gzip"}, "completed", `{"a":1}`, nil, 0},
		"x-gzip":               {Body{Bytes: compressed(t, `{"result":{"a":1}}`, gzipped), Encoding: "X-GZIP"}, "completed", `{"a":1}`, nil, 0},
		"deflate":              {Body{Bytes: compressed(t, `{"result":{"a":1}}`, deflated), Encoding: "deflate"}, "completed", `{"a":1}`, nil, 0},
		"bare deflate":         {Body{Bytes: compressed(t, `{"result":{"a":1}}`, bare), Encoding: "deflate"}, "completed", `{"a":1}`, nil, 0},
		"identity":             {Body{Bytes: []byte(`{"result":{}}`), Encoding: "identity"}, "completed", `{}`, nil, 0},
		"a form":               {Body{Bytes: []byte(`status=completed&analysis_results=%7B%22a%22%3ANaN%7D`), Type: form + "; charset=utf-8"}, "completed", `{"a":null}`, []string{"non-finite-numbers"}, 0},
		"a form of progress":   {Body{Bytes: []byte(`status=processing&progress=40&message=hm`), Type: form}, "processing", "", nil, 40},
		"a form of a failure":  {Body{Bytes: []byte(`status=failed&error=no+speech&code=no-speech&retryable=false`), Type: form}, "failed", "", nil, 0},
		"JSON called a form":   {Body{Bytes: []byte(`{"result":{"a":1}}`), Type: form}, "completed", `{"a":1}`, nil, 0},
		"JSON":                 {Body{Bytes: []byte(`{"result":{"a":1}}`), Type: json}, "completed", `{"a":1}`, nil, 0},
		"a mark of UTF-16":     {Body{Bytes: utf16("\ufeff{\"result\":{\"a\":\"é\"}}")}, "completed", `{"a":"é"}`, nil, 0},
		"UTF-16, no mark":      {Body{Bytes: utf16(`{"result":{"a":1}}`), Type: json + "; charset=utf-16le"}, "completed", `{"a":1}`, nil, 0},
		"Latin-1":              {Body{Bytes: []byte("{\"result\":{\"a\":\"caf\xe9\"}}"), Type: json + "; charset=ISO-8859-1"}, "completed", `{"a":"café"}`, nil, 0},
		"EUC-KR":               {Body{Bytes: []byte("{\"result\":\"\xbc\xd2\xb8\xae\"}"), Type: json + "; charset=euc-kr"}, "completed", `"소리"`, nil, 0},
		"MS949, as in Java":    {Body{Bytes: []byte("{\"result\":\"\x8c\x63\"}"), Type: json + "; charset=MS949"}, "completed", `"똠"`, nil, 0},
		"cp949, as in Python":  {Body{Bytes: []byte("{\"result\":\"\x8c\x63\"}"), Type: json + "; charset=cp949"}, "completed", `"똠"`, nil, 0},
		"a form in code page":  {Body{Bytes: []byte(`result=%7B%22a%22%3A%22%8Cc%22%7D`), Type: form + "; charset=x-windows-949"}, "completed", `{"a":"똠"}`, nil, 0},
		"UTF-8 called Latin-1": {Body{Bytes: []byte(`{"result":"소리"}`), Type: json + "; charset=latin1"}, "completed", `"소리"`, nil, 0},
		"a form in Latin-1":    {Body{Bytes: []byte(`result=%7B%22a%22%3A%22caf%E9%22%7D`), Type: form + "; charset=latin1"}, "completed", `{"a":"café"}`, nil, 0},
		"JSON in a string":     {Body{Bytes: []byte(`"{\"status\":\"done\",\"result\":{\"a\":NaN}}"`), Type: json}, "completed", `{"a":null}`, []string{"non-finite-numbers"}, 0},
		"a multipart form": {
			Body{
				Bytes: []byte("--b\r\nContent-Disposition: form-data; name=\"status\"\r\n\r\nok\r\n--b\r\n" +
					"Content-Disposition: form-data; name=\"result\"; filename=\"r.json\"\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n--b--\r\n"),
				Type: "multipart/form-data; boundary=b",
			},
			"completed", `{"a":1}`, nil, 0,
		},
		"NaN in C":              {Body{Bytes: []byte(`{"result":[nan,-nan,inf,-inf,"nan"]}`)}, "completed", `[null,null,null,null,"nan"]`, []string{"non-finite-numbers"}, 0},
		"results":               {Body{Bytes: []byte(`{"status":"Finish","results":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"data":                  {Body{Bytes: []byte(`{"status":"success","data":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"fail":                  {Body{Bytes: []byte(`{"status":"fail","data":{"a":"x"}}`)}, "failed", "", nil, 0},
		"canceled there":        {Body{Bytes: []byte(`{"status":"CANCELLED"}`)}, "failed", "", nil, 0},
		"a timeout there":       {Body{Bytes: []byte(`{"status":"TimedOut"}`)}, "failed", "", nil, 0},
		"not started":           {Body{Bytes: []byte(`{"status":"NotStarted"}`)}, "processing", "", nil, 0},
		"an output":             {Body{Bytes: []byte(`{"id":"x","status":"succeeded","input":{},"output":{"a":1},"error":null}`)}, "completed", `{"a":1}`, nil, 0},
		"an output, a text":     {Body{Bytes: []byte(`{"id":"x","status":"COMPLETED","output":"a","delayTime":1}`)}, "completed", `"a"`, nil, 0},
		"two names":             {Body{Bytes: []byte(`{"status":"done","output":"log","result":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"a form of output":      {Body{Bytes: []byte(`status=done&output=%7B%22a%22%3A1%7D`), Type: form}, "completed", `{"a":1}`, nil, 0},
		"output and failure":    {Body{Bytes: []byte(`{"status":"failed","output":{"a":1}}`)}, "failed", "", nil, 0},
		"an operation":          {Body{Bytes: []byte(`{"name":"operations/1","done":true,"response":{"a":1}}`)}, "completed", `{"a":1}`, nil, 0},
		"its failure":           {Body{Bytes: []byte(`{"name":"operations/1","done":true,"error":{"code":3,"message":"x"}}`)}, "failed", "", nil, 0},
		"while it runs":         {Body{Bytes: []byte(`{"name":"operations/1","done":false,"metadata":{}}`)}, "processing", "", nil, 0},
		"a number that is done": {Body{Bytes: []byte(`{"status":"running","done":true,"progress":40,"response":{}}`)}, "processing", "", nil, 40},
		"validating":            {Body{Bytes: []byte(`{"id":"batch_1","object":"batch","status":"validating","errors":null}`)}, "processing", "", nil, 0},
		"out of memory":         {Body{Bytes: []byte(`{"state":"OUT_OF_MEMORY"}`)}, "failed", "", nil, 0},
		"an array of one":       {Body{Bytes: []byte(` [ {"job_id":"x","status":"done","result":{"a":NaN}} ] `), Type: json}, "completed", `{"a":null}`, []string{"non-finite-numbers"}, 0},
		"lines":                 {Body{Bytes: []byte("{\"status\":\"running\",\"progress\":50}\r\n\n{\"status\":\"done\",\"result\":{\"a\":NaN}}\n"), Type: "application/x-ndjson"}, "completed", `{"a":null}`, []string{"non-finite-numbers"}, 0},
		"lines of progress":     {Body{Bytes: []byte("{\"status\":\"running\",\"progress\":50}\n{\"status\":\"running\",\"progress\":60}"), Type: json}, "processing", "", nil, 60},
		"one object over lines": {Body{Bytes: []byte("{\n\"result\":\n{}\n}"), Type: json}, "completed", `{}`, nil, 0},
		"events":                {Body{Bytes: []byte(": ping\n\nevent: progress\ndata: {\"status\":\"running\"}\n\nevent: result\nid: 2\ndata: {\"status\":\"done\",\ndata: \"result\":{\"a\":1}}\r\n\r\ndata: [DONE]\n\n"), Type: "text/event-stream; charset=utf-8"}, "completed", "{\"a\":1}", nil, 0},
		"events without end":    {Body{Bytes: []byte("data:{\"result\":{\"a\":1}}"), Type: "text/event-stream"}, "completed", `{"a":1}`, nil, 0},
		"waiting in a queue":    {Body{Bytes: []byte(`{"status":"IN_QUEUE"}`)}, "processing", "", nil, 0},
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
		"words of another kind":  {Body{Bytes: []byte(`{"result":None}`)}, "malformed-json"},
		"repeated results":       {Body{Bytes: []byte(`status=ok&result=a&result=b`), Type: "application/x-www-form-urlencoded"}, "malformed-request"},
		"results in brackets":    {Body{Bytes: []byte(`status=ok&analysis_results%5Ba%5D=1`), Type: "application/x-www-form-urlencoded"}, "malformed-request"},
		"no boundary":            {Body{Bytes: []byte("--b\r\n"), Type: "multipart/form-data"}, "malformed-request"},
		"too many fields":        {Body{Bytes: manyFields(), Type: "multipart/form-data; boundary=b"}, "malformed-request"},
		"a cut multipart form":   {Body{Bytes: []byte("--b\r\nContent-Disposition: form-data; name=\"result\"\r\n\r\n{"), Type: "multipart/form-data; boundary=b"}, "malformed-request"},
		"a string of no object":  {Body{Bytes: []byte(`"done"`)}, "malformed-json"},
		"an array of two":        {Body{Bytes: []byte(`[{"result":1},{"result":2}]`)}, "malformed-json"},
		"an array of none":       {Body{Bytes: []byte(`[]`)}, "malformed-json"},
		"an array without end":   {Body{Bytes: []byte(`[{"result":1}`)}, "malformed-json"},
		"lines that are cut":     {Body{Bytes: []byte("{\"status\":\"running\"}\n{\"result\":")}, "malformed-json"},
		"events of no object":    {Body{Bytes: []byte("data: done\n\n"), Type: "text/event-stream"}, "malformed-json"},
		"an unknown charset":     {Body{Bytes: []byte("{\"result\":\"\xe9\"}"), Type: "application/json; charset=x"}, "malformed-json"},
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
