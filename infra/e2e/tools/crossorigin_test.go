//go:build tools

package tools_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	analyzer "sori.internal/infra/analyzer/app"
	"sori.internal/infra/internal/harness/harnesstest"
	"sori.internal/infra/internal/loadgen"
)

// axios returns the build for browsers of axios, the npm package with which frontends upload.
var axios = sync.OnceValues(func() ([]byte, error) { return fromNPM("axios@1.7.9", "dist/axios.min.js") })

// fromNPM returns a file of an npm package. The name of the package contains the version.
func fromNPM(name, file string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "npm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := run(dir, "npm", "pack", "--silent", name); err != nil {
		return nil, err
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return nil, fmt.Errorf("npm packed %q, %w", packed, err)
	}
	if err := run(dir, "tar", "-xzf", packed[0]); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "package", filepath.FromSlash(file)))
}

// serveFrontend serves a frontend's page and returns its origin. The origin differs from the gateway's
// in the port and, since its host is localhost, also in the site.
func serveFrontend(t *testing.T) (origin string) {
	t.Helper()
	script, err := axios()
	if err != nil {
		t.Fatal(err)
	}
	return servePage(t, script)
}

// servePage serves a page that loads a script, and returns its origin.
func servePage(t *testing.T, script []byte) (origin string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/script.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(script)
		case "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<!doctype html><link rel="icon" href="data:,"><title>frontend</title><script src="/script.js"></script>`))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

// openPage opens the page at an origin in a new browser.
func openPage(t *testing.T, origin string) *visitor {
	t.Helper()
	v := &visitor{t: t, page: browser(t.Context(), t, chromedp.Flag("autoplay-policy", "no-user-gesture-required")), home: origin}
	v.open("/")
	v.sees("window.axios")
	return v
}

// frontendScript is the script of a frontend on another origin: it uploads with axios and
// progress events, follows the job with an EventSource until that closes, reads the
// result, lists jobs, plays the recording, deletes the job, and reads errors.
const frontendScript = `(async () => {
  const bytes = Uint8Array.from(atob(%q), c => c.charCodeAt(0));
  const base = %q, token = %d;
  const api = axios.create({baseURL: base, withCredentials: true});
  const form = (content) => {
    const form = new FormData();
    form.append('file', new File([content], '녹음.wav'));
    return form;
  };
  const sent = [];
  const accepted = await api.post('/tokens/' + token + '/upload-audio', form(bytes), {
    headers: {'Idempotency-Key': 'k' + Math.random(), 'Accept-Language': 'en', 'Cache-Control': 'no-cache', 'X-Request-Id': 'from-a-page', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'},
    onUploadProgress: e => sent.push(e.loaded),
  });
  const job = accepted.data.job_id;
  const frames = [];
  const source = new EventSource(base + '/tokens/analysis-progress/' + job, {withCredentials: true});
  source.onmessage = m => frames.push(JSON.parse(m.data));
  await new Promise(stopped => source.onerror = () => source.readyState === EventSource.CLOSED && stopped());
  const result = await api.get(accepted.headers.location.startsWith('http') ? accepted.headers.location : new URL(accepted.headers.location, base).href);
  const list = await api.get('/jobs/?limit=1');
  const page = await api.get('/tokens/?limit=1');
  const played = await new Promise(resolve => {
    const audio = new Audio();
    audio.crossOrigin = 'anonymous';
    audio.onloadedmetadata = () => resolve(audio.duration);
    audio.onerror = () => resolve(-1);
    audio.src = base + '/jobs/' + job + '/audio';
  });
  const fetched = (await (await fetch(base + '/jobs/' + job + '/audio')).arrayBuffer()).byteLength;
  const refused = async (asked) => {
    try {
      return (await asked).status + '';
    } catch (error) {
      return error.response ? error.response.status + ' ' + error.response.data.code + (error.response.headers['x-request-id'] ? '' : ' without an id') : error.message;
    }
  };
  const removed = await api.delete('/jobs/' + job);
  return {
    job, sent, total: bytes.length, location: accepted.headers.location, requestID: accepted.headers['x-request-id'], frames, stored: result.data.status, etag: result.headers.etag,
    listed: list.data.jobs[0].job_id, link: page.headers.link, played, fetched, removed: removed.data.detail,
    errors: [
      await refused(api.get('/tokens/analysis-result/' + job)),
      await refused(api.post('/tokens/' + token + '/upload-audio', form('no sound at all'))),
      await refused(api.post('/tokens/999999/upload-audio', form(bytes))),
      await refused(api.post('/tokens/' + token + '/upload-audio', form(new Uint8Array(6 << 20)))),
      await refused(api.get('/nowhere')),
      await refused(api.patch('/tokens/')),
      await refused(api.put('/tokens/' + token, {}, {headers: {'If-Match': '"1"'}})),
    ],
  };
})()`

// seen is the result of frontendScript.
type seen struct {
	Job       string `json:"job"`
	Sent      []int  `json:"sent"`
	Total     int    `json:"total"`
	Location  string `json:"location"`
	RequestID string `json:"requestID"`
	Frames    []struct {
		Status   string `json:"status"`
		Progress int    `json:"progress"`
	} `json:"frames"`
	Stored  string   `json:"stored"`
	ETag    string   `json:"etag"`
	Listed  string   `json:"listed"`
	Link    string   `json:"link"`
	Played  float64  `json:"played"`
	Fetched int      `json:"fetched"`
	Removed string   `json:"removed"`
	Errors  []string `json:"errors"`
}

// seconds is the length of the frontend's recording.
const seconds = 2

// checkAPI runs frontendScript in the page that v has open, and checks the result. base is the base
// URL of the API that the script calls.
func checkAPI(t *testing.T, v *visitor, w *harnesstest.Env, base string) seen {
	t.Helper()
	audio := loadgen.Tone(220, seconds*time.Second)
	s := evaluate[seen](v, fmt.Sprintf(frontendScript, base64.StdEncoding.EncodeToString(audio), base, w.Token))
	if len(s.Sent) == 0 || s.Sent[len(s.Sent)-1] < s.Total {
		t.Errorf("%d bytes were sent, in the steps %v", s.Total, s.Sent)
	}
	if len(s.Frames) < 2 || s.Frames[len(s.Frames)-1].Status != "completed" || s.Frames[len(s.Frames)-1].Progress != 100 {
		t.Errorf("the frames are %+v", s.Frames)
	}
	if s.RequestID != "from-a-page" || s.Stored != "completed" || s.ETag == "" || s.Listed != s.Job || !strings.Contains(s.Link, `rel="first"`) || s.Removed != "Job deleted successfully" {
		t.Errorf("the page saw %+v", s)
	}
	if s.Played < seconds-0.1 || s.Played > seconds+0.1 || s.Fetched != len(audio) {
		t.Errorf("the recording is %v s and %d bytes for the page, of %d", s.Played, s.Fetched, len(audio))
	}
	want := []string{
		"410 job-erased", "415 unsupported-audio", "404 token-not-found", "413 too-large", "404 route-not-found", "405 method-not-allowed", "422 validation-failed",
	}
	if strings.Join(s.Errors, ", ") != strings.Join(want, ", ") {
		t.Errorf("the page reads the errors %q, not %q", s.Errors, want)
	}
	return s
}

// crossOrigin returns settings that allow pages of an origin.
func crossOrigin(origin string) map[string]string {
	return map[string]string{"CORS_ALLOWED_ORIGINS": origin, "MAX_UPLOAD_BYTES": "1000000"}
}

func TestAPageOfAListedOriginUsesTheWholeAPI(t *testing.T) {
	t.Parallel()
	home := serveFrontend(t)
	w := harnesstest.Start(t, harnesstest.Options{Settings: crossOrigin(home), Behaviour: analyzer.Behaviour{Delay: analyzer.Duration(time.Second)}})
	s := checkAPI(t, openPage(t, home), w, w.Gateway)
	if s.Location != "/tokens/analysis-result/"+s.Job {
		t.Errorf("Location is %s", s.Location)
	}
}

// attack is the script of a hostile page: it sends writing requests that need no
// preflight, and some that do, and returns the outcome of each.
const attack = `(async () => {
  const base = %q, token = %d;
  const form = new FormData();
  form.append('file', new File([Uint8Array.from(atob(%q), c => c.charCodeAt(0))], 'a.wav'));
  const told = async (asked) => { try { const r = await asked; return r.type + ' ' + r.status; } catch (e) { return 'failed'; } };
  const answers = [
    await told(fetch(base + '/tokens/' + token + '/upload-audio', {method: 'POST', body: form})),
    await told(fetch(base + '/tokens/' + token + '/upload-audio', {method: 'POST', body: form, mode: 'no-cors'})),
    await told(fetch(base + '/tokens/', {method: 'POST', mode: 'no-cors', body: new Blob(['{"token_name":"evil","actor_name":"b","start_time":0,"end_time":1}'])})),
    await told(fetch(base + '/tokens/' + token, {method: 'DELETE'})),
    await told(fetch(base + '/jobs/')),
    await told(axios.post(base + '/tokens/' + token + '/upload-audio', form)),
  ];
  const frame = document.createElement('iframe');
  frame.name = 'target';
  document.body.append(frame);
  const plain = document.createElement('form');
  plain.method = 'POST';
  plain.enctype = 'multipart/form-data';
  plain.target = 'target';
  plain.action = base + '/tokens/' + token + '/upload-audio';
  const input = document.createElement('input');
  input.type = 'file';
  input.name = 'file';
  const files = new DataTransfer();
  files.items.add(form.get('file'));
  input.files = files.files;
  plain.append(input);
  document.body.append(plain);
  const loaded = new Promise(done => frame.onload = done);
  plain.submit();
  await loaded;
  return answers;
})()`

func TestAPageOfAnUnlistedOriginMakesNoJob(t *testing.T) {
	t.Parallel()
	w := harnesstest.Start(t, harnesstest.Options{Settings: crossOrigin(serveFrontend(t))})
	// First a page of another site, then a page of the same site at another port.
	for _, home := range []string{serveFrontend(t), strings.Replace(serveFrontend(t), "localhost", "127.0.0.1", 1)} {
		v := openPage(t, home)
		answers := evaluate[[]string](v, fmt.Sprintf(attack, w.Gateway, w.Token, base64.StdEncoding.EncodeToString(loadgen.Tone(220, time.Second))))
		want := []string{"failed", "opaque 0", "opaque 0", "failed", "failed", "failed"}
		if strings.Join(answers, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s was answered %q", home, answers)
		}
	}
	if n := strings.Count(w.Logged(), `upload-audio","status":403`); n < 8 {
		t.Errorf("%d uploads were refused", n)
	}
	for path, want := range map[string]string{"/jobs/": `"jobs":[]`, fmt.Sprintf("/tokens/%d", w.Token): `"token_name":"sample"`, "/tokens/?q=evil": "[]"} {
		if text := body(t, w, path); !strings.Contains(text, want) {
			t.Errorf("%s is now %s", path, text)
		}
	}
}
