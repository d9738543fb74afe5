package e2e_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/event"
	"sori.internal/shared/joblog"
	"sori.internal/shared/testkit"
)

// silent is an analysis server that accepts every request and never calls back: the test
// sends the callbacks in its place.
func silent(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }

// callback is the request of an analysis server that reports to a callback URL.
type callback struct {
	body     string
	kind     string // Content-Type; "" is application/json
	encoding string // Content-Encoding
}

// dialect is a callback with its expected outcome: the job is completed with a result, the
// job fails with a code, or the callback is refused and the stream contains the code.
type dialect struct {
	callback
	result  string // the result, if the job is completed
	warning string // a warning in the event completed
	failed  string // the expected error code, if the job fails
	refused string // the expected code, if the callback is refused
	moves   int    // the least progress, in percent, that the stream must show after a callback that does not end the job
	slow    bool   // the callback is large: its handling may take longer than a second
}

// compressed returns the text compressed by the given kind of writer.
func compressed(t *testing.T, text []byte, writer func(io.Writer) io.WriteCloser) string {
	t.Helper()
	var b bytes.Buffer
	w := writer(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func asGzip(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func asZlib(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }

func asFlate(w io.Writer) io.WriteCloser {
	f, _ := flate.NewWriter(w, flate.DefaultCompression) // fails only for an invalid level
	return f
}

// asUTF16 returns a text in UTF-16, with a byte order mark.
func asUTF16(text string) string {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, utf16.Encode([]rune("\ufeff"+text)))
	return b.String()
}

func dialects(t *testing.T) map[string]dialect {
	t.Helper()
	const (
		plain = `{"analysis_results":{"a":1}}`
		form  = "application/x-www-form-urlencoded"
		bom   = "\xef\xbb\xbf"
	)
	zipped := func(text string) string { return compressed(t, []byte(text), asGzip) }
	all := map[string]dialect{
		"as documented":            {callback: callback{body: plain}, result: `{"a":1}`},
		"a byte order mark":        {callback: callback{body: bom + plain}, result: `{"a":1}`},
		"NaN and Infinity":         {callback: callback{body: `{"analysis_results":{"a":[1.5,NaN,-Infinity]}}`}, result: `{"a":[1.5,null,null]}`, warning: "non-finite-numbers"},
		"gzip":                     {callback: callback{body: zipped(plain), encoding: "gzip"}, result: `{"a":1}`},
		"deflate, zlib":            {callback: callback{body: compressed(t, []byte(plain), asZlib), encoding: "deflate"}, result: `{"a":1}`},
		"deflate, raw":             {callback: callback{body: compressed(t, []byte(plain), asFlate), encoding: "deflate"}, result: `{"a":1}`},
		"a gzip bomb":              {callback: callback{body: zipped(`{"analysis_results":"` + strings.Repeat(" ", 32<<20) + `"}`), encoding: "gzip"}, refused: "too-large"},
		"gzip that is none":        {callback: callback{body: plain, encoding: "gzip"}, refused: "malformed-request"},
		"gzip cut short":           {callback: callback{body: zipped(plain)[:20], encoding: "gzip"}, refused: "malformed-request"},
		"an unknown encoding":      {callback: callback{body: plain, encoding: "br"}, refused: "unsupported-encoding"},
		"COMPLETED":                {callback: callback{body: `{"status":"COMPLETED","analysis_results":{"a":1}}`}, result: `{"a":1}`},
		"success":                  {callback: callback{body: `{"status":"success","analysis_results":{"a":1}}`}, result: `{"a":1}`},
		"error":                    {callback: callback{body: `{"status":"error","error":"no speech"}`}, failed: "analysis-failed"},
		"failed with a code":       {callback: callback{body: `{"status":"failed","error":"no speech","code":"no-speech"}`}, failed: "no-speech"},
		"an error and no status":   {callback: callback{body: `{"error":{"type":"E"}}`}, failed: "analysis-failed"},
		"progress as a text":       {callback: callback{body: `{"status":"processing","progress":"50"}`}, moves: 94},
		"a form":                   {callback: callback{body: `status=completed&analysis_results=%7B%22a%22%3A1%7D`, kind: form}, result: `{"a":1}`},
		"JSON that claims a form":  {callback: callback{body: plain, kind: form}, result: `{"a":1}`},
		"a wrong type":             {callback: callback{body: plain, kind: "text/html; charset=latin1"}, result: `{"a":1}`},
		"a type that is none":      {callback: callback{body: plain, kind: ";;"}, result: `{"a":1}`},
		"result":                   {callback: callback{body: `{"status":"completed","result":{"a":1}}`}, result: `{"a":1}`},
		"completed with nothing":   {callback: callback{body: `{"status":"completed"}`}, result: `{}`, warning: "no-results"},
		"completed with null":      {callback: callback{body: `{"status":"completed","analysis_results":null}`}, result: `{}`, warning: "no-results"},
		"wrong JSON":               {callback: callback{body: `{"analysis_results":{"a":1},}`}, refused: "malformed-json"},
		"JSON that is no object":   {callback: callback{body: `[1]`}, refused: "malformed-json"},
		"two objects":              {callback: callback{body: plain + plain}, refused: "malformed-json"},
		"UTF-16":                   {callback: callback{body: asUTF16(plain)}, result: `{"a":1}`},
		"nothing":                  {refused: "malformed-json"},
		"a multipart form":         {callback: callback{body: "--x\r\nContent-Disposition: form-data; name=\"result\"\r\n\r\n{\"a\":1}\r\n--x--\r\n", kind: "multipart/form-data; boundary=x"}, result: `{"a":1}`},
		"a form of parts":          {callback: callback{body: `status=completed&result%5Ba%5D=1`, kind: form}, refused: "malformed-request"},
		"an unknown status":        {callback: callback{body: `{"status":"exploded"}`}, refused: "validation-failed"},
		"a status that is no text": {callback: callback{body: `{"status":7}`}, refused: "validation-failed"},
		"an empty object":          {callback: callback{body: `{}`}, refused: "validation-failed"},
		"progress that is none":    {callback: callback{body: `{"status":"running","progress":"half"}`}, refused: "validation-failed"},
		"several at once": {
			callback: callback{body: zipped(bom + `{"status":"DONE","result":{"a":NaN}}`), kind: form, encoding: "x-gzip"},
			result:   `{"a":null}`, warning: "non-finite-numbers",
		},
		"a form of several at once": {
			callback: callback{body: zipped("status=Success&result=" + url.QueryEscape(`{"a":Infinity}`)), kind: form, encoding: "gzip"},
			result:   `{"a":null}`, warning: "non-finite-numbers",
		},
	}
	return all
}

func TestEachCallbackDialectEndsItsJobWithinASecondOrTheStreamSaysWhyNot(t *testing.T) {
	t.Parallel()
	tryAll(t, dialects(t))
}

// tryAll tries each dialect with a new job, all in one Sori.
func tryAll(t *testing.T, all map[string]dialect) {
	t.Helper()
	asked := &wire{}
	w := harnesstest.Start(t, harnesstest.Options{Front: func(http.Handler) http.Handler { return asked.listen(http.HandlerFunc(silent)) }})
	for name, d := range all {
		var err error
		for range 3 { // up to three attempts: on a busy machine the stream may be late
			if err = d.try(t, w, asked); err == nil || !errors.Is(err, errLate) {
				break
			}
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The callbacks contain data that can break JSON decoders, databases and event streams.
func TestHostileCallbacksEndTheirJobsOrAreRefusedOnTheStream(t *testing.T) {
	t.Parallel()
	nested := func(levels int) string { return strings.Repeat(`{"a":[`, levels/2) + strings.Repeat(`]}`, levels/2) }
	large := `{"a":"` + strings.Repeat("x", 4<<20) + `"}`
	results := func(text string) callback { return callback{body: `{"analysis_results":` + text + `}`} }
	tryAll(t, map[string]dialect{
		"4 MB":                    {callback: results(large), result: large, slow: true},
		"more than is taken":      {callback: results(`"` + strings.Repeat("x", 17<<20) + `"`), refused: "too-large"},
		"nested 9 990 levels":     {callback: results(nested(9990)), result: nested(9990)},
		"nested 100 000 levels":   {callback: results(nested(100_000)), refused: "malformed-json"},
		"never closed":            {callback: callback{body: strings.Repeat(`{"a":`, 1_000_000)}, refused: "malformed-json"},
		"NUL characters":          {callback: results(`{"a\u0000":"b\u0000"}`), result: `{"a\u0000":"b\u0000"}`},
		"a raw NUL":               {callback: results("{\"a\":\"\x00\"}"), refused: "malformed-json"},
		"lone surrogates":         {callback: results(`{"a":"\ud800","b":"\udc00\ud800"}`), result: `{"a":"\ud800","b":"\udc00\ud800"}`},
		"bytes that are no text":  {callback: results("{\"a\":\"\xff\xfe\"}"), refused: "malformed-json"},
		"line breaks":             {callback: results("{\n\r\n\"a\":\n\"\\n\\ndata: x\\u2028\"}"), result: `{"a":"\n\ndata: x\u2028"}`},
		"duplicate keys":          {callback: results(`{"a":1,"a":2}`), result: `{"a":1,"a":2}`},
		"two results":             {callback: callback{body: `{"analysis_results":{"a":1},"analysis_results":{"a":2}}`}, result: `{"a":2}`},
		"a number without bounds": {callback: results(`{"a":1e999,"b":-1e-999,"c":123456789012345678901234567890}`), result: `{"a":1e999,"b":-1e-999,"c":123456789012345678901234567890}`},
		"progress 1e999":          {callback: callback{body: `{"status":"processing","progress":1e999}`}, refused: "validation-failed"},
		"progress below nothing":  {callback: callback{body: `{"status":"processing","progress":-1}`}, refused: "validation-failed"},
		"a failure with controls": {callback: callback{body: `{"status":"failed","error":"a\u0000\u001b[2J\ud800","code":"No Such\u0000Code"}`}, failed: "analysis-failed"},
		"a failure of 10 MB":      {callback: callback{body: `{"status":"failed","error":"` + strings.Repeat("소", 10<<20/3) + `"}`}, failed: "analysis-failed"},
		"a failure that is ours":  {callback: callback{body: `{"status":"failed","error":"x","code":"log-lost"}`}, failed: "analysis-failed"},
		"a message of controls":   {callback: callback{body: `{"status":"processing","progress":50,"message":"\u0000\u202e\n\n"}`}, moves: 94},
	})
}

func TestProgressThatGoesBackIsNotSeen(t *testing.T) {
	t.Parallel()
	asked := &wire{}
	w := harnesstest.Start(t, harnesstest.Options{Front: func(http.Handler) http.Handler { return asked.listen(http.HandlerFunc(silent)) }})
	job, hook := asked.job(t, w)
	b := w.Bus("test", event.Jobs())
	for _, percent := range []int{80, 20} { // retried, because only one progress callback per second is accepted
		testkit.Eventually(t, func() error {
			post(t, hook, fmt.Sprintf(`{"status":"processing","progress":%d}`, percent))
			if p, _, err := joblog.New(b).LastProgress(w.Context(), job); err != nil || p == nil || p.Percent != percent {
				return fmt.Errorf("%d is not taken yet: %+v %w", percent, p, err)
			}
			return nil
		})
		w.Settled("tracker-projection")
		var r result
		if w.Result(t, job, &r); r.Progress != 97 {
			t.Errorf("after %d: progress %d", percent, r.Progress)
		}
	}
	post(t, hook, `{"analysis_results":{"a":"long enough"}}`)
	harnesstest.CheckFrames(t, w.Follow(w.Context(), t, job, "en"))
}

// soon is the time limit from the answer to a callback until viewers see the outcome in
// the stream.
const soon = time.Second

var errLate = errors.New("the stream is late")

// try sends the callback for a new job and checks the frames of the job's stream.
func (d dialect) try(t *testing.T, w *harnesstest.Env, asked *wire) error {
	t.Helper()
	job, hook := asked.job(t, w)
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	frames := frames(ctx, t, w, job)
	status, err := d.send(ctx, w, hook)
	if err != nil {
		return err
	}
	if (status == http.StatusOK) == (d.refused != "") {
		return fmt.Errorf("the callback is answered %d", status)
	}
	answered := time.Now()
	seen, at := client.Job{}, time.Time{}
	for f := range frames {
		if seen, at = f.Job, f.at; f.Terminal() || f.Refused != "" || d.moves > 0 && f.Progress >= d.moves {
			break
		}
	}
	if err := d.check(seen); err != nil {
		return err
	}
	if at.Sub(answered) > soon && !d.slow {
		return fmt.Errorf("%w: %v", errLate, at.Sub(answered))
	}
	if d.warning != "" {
		return d.checkWarning(t, w, job)
	}
	if seen.Terminal() {
		return nil
	}
	if status, err := (callback{body: `{"analysis_results":{"a":"in the end"}}`}).send(ctx, w, hook); status != http.StatusOK {
		return fmt.Errorf("the outcome is answered %d, %w", status, err)
	}
	for f := range frames {
		seen = f.Job
	}
	if seen.Status != "completed" {
		return fmt.Errorf("the end is %+v", seen)
	}
	return nil
}

// job uploads a recording and waits until the analysis server has received the request for it.
func (w *wire) job(t *testing.T, all *harnesstest.Env) (job, hook string) {
	t.Helper()
	job = all.Upload(t, "a.wav", loadgen.Tone(220, 100*time.Millisecond))
	testkit.Eventually(t, func() error {
		if hook = w.hook(job, 1); hook == "" {
			return fmt.Errorf("the analysis server was not asked for job %s", job)
		}
		return nil
	})
	return job, hook
}

// arrival is a frame with the time at which it arrived.
type arrival struct {
	client.Job
	at time.Time
}

// frames opens a job's stream and returns a channel that receives its frames.
func frames(ctx context.Context, t *testing.T, w *harnesstest.Env, job string) <-chan arrival {
	t.Helper()
	stream, all := w.Watch(ctx, t, job, "en"), make(chan arrival, 100)
	go func() {
		defer close(all)
		defer stream.Close()
		_ = client.ReadEvents(stream, "", func(e client.Event) error { // an error is ignored: the test notices missing frames
			f := arrival{at: time.Now()}
			err := json.Unmarshal([]byte(e.Data), &f.Job)
			all <- f
			return err
		})
	}()
	return all
}

// send sends the callback to the gateway, which forwards it to the dispatcher.
func (c callback) send(ctx context.Context, w *harnesstest.Env, hook string) (int, error) {
	_, path, _ := strings.Cut(hook, "/tokens/")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Gateway+"/tokens/"+path, strings.NewReader(c.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.kind != "" {
		req.Header.Set("Content-Type", c.kind)
	}
	if c.encoding != "" {
		req.Header.Set("Content-Encoding", c.encoding)
	}
	resp, err := w.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func (d dialect) check(f client.Job) error {
	switch {
	case d.refused != "" && f.Refused == d.refused && !f.Terminal():
	case d.failed != "" && f.Status == "failed" && f.Error != nil && f.Error.Code == d.failed:
	case d.result != "" && f.Status == "completed" && string(f.Result) == d.result:
	case d.moves > 0 && f.Status == "processing" && f.Progress >= d.moves && f.Refused == "":
	default:
		return fmt.Errorf("the stream says %.500s, result %.100s", fmt.Sprintf("%+v", f), f.Result)
	}
	return nil
}

func (d dialect) checkWarning(t *testing.T, w *harnesstest.Env, job string) error {
	t.Helper()
	h := history(t, w, job)
	warned, _ := json.Marshal(h[len(h)-1])
	if !strings.Contains(string(warned), `"warnings":["`+d.warning+`"]`) {
		return fmt.Errorf("the end has no warning %s: %s", d.warning, warned)
	}
	return nil
}
