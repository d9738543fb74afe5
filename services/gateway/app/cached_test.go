package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// digest is the SHA-256 of recording, in hexadecimal.
var (
	recording = wav(300 << 10)
	digest    = fmt.Sprintf("%x", sha256.Sum256(recording))
)

func TestAnUploadSaysWhetherItIsToBeAnalysedAnew(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for cacheControl, want := range map[string]bool{
		"": false, "no-cache": true, "max-age=0, No-Store": true, "max-age=0": false, "no-cache-please": false,
	} {
		r := g.upload(map[string]string{"Cache-Control": cacheControl}, part{name: "file", file: "a.wav", content: wav(200)})
		if received := g.received(g.checkAccepted(r, false)); received.Fresh != want {
			t.Errorf("%q: %+v", cacheControl, received)
		}
	}
}

// cachedStub is a dispatcher that has a cached result for one recording of the token.
type cachedStub struct {
	seen   atomic.Value // the last request, as text
	asked  atomic.Int64
	status atomic.Int64 // status of the answers; 0: the path determines the status
}

const cachedJob = "0199a5f2-0000-7000-8000-000000000000"

func (s *cachedStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	described, _ := uploadrequest.FromHeader(r.Header)
	s.seen.Store(fmt.Sprint(r.Method, " ", r.URL.Path, " ", described.TokenID, described.TextGridURL, described.PitchURL, described.SHA256, r.Header.Get(principal.Header) != ""))
	s.asked.Add(1)
	switch status := int(s.status.Load()); {
	case status != 0:
		w.WriteHeader(status)
	case !strings.HasSuffix(r.URL.Path, digest):
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Location", "/tokens/analysis-result/"+cachedJob)
	}
}

func TestAQuestionForACachedResultIsForwardedWithTheReferencesOfTheToken(t *testing.T) {
	t.Parallel()
	stub := &cachedStub{}
	g, _ := startWithUpstream(t, nil, stub.ServeHTTP)
	path := fmt.Sprintf("/tokens/%d/results/%s", g.token, digest)
	forged, err := uploadrequest.Description{TokenID: g.token, TextGridURL: "s3://refs/forged.TextGrid"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, strings.Replace(path, digest, strings.ToUpper(digest), 1)} {
		r := g.do("HEAD", path, nil, map[string]string{uploadrequest.Header: forged})
		if r.StatusCode != http.StatusOK || r.Header.Get("Cache-Status") != "sori; hit" || r.Header.Get("Location") != "/tokens/analysis-result/"+cachedJob {
			t.Errorf("%s: %v", r.Status, r.Header)
		}
	}
	want := fmt.Sprint("HEAD ", path, " ", g.token, "s3://refs/1.TextGrid", "s3://refs/1.json", digest, true)
	if got := stub.seen.Load(); got != want {
		t.Errorf("the dispatcher saw %s, not %s", got, want)
	}
	asked := stub.asked.Load()
	for path, status := range map[string]int{
		"/tokens/999999/results/" + digest: http.StatusNotFound,
		"/tokens/x/results/" + digest:      http.StatusUnprocessableEntity,
		path[:len(path)-1]:                 http.StatusNotFound,
	} {
		if r := g.do("HEAD", path, nil, nil); r.StatusCode != status || stub.asked.Load() != asked {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	if r := g.do("HEAD", strings.Replace(path, digest, strings.Repeat("0", len(digest)), 1), nil, nil); r.StatusCode != http.StatusNotFound || r.Header.Get("Location") != "" {
		t.Errorf("another recording: %s", r.Status)
	}
	if r := g.do("GET", path, nil, nil); r.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(r.Header.Get("Allow"), "HEAD") {
		t.Errorf("GET: %s %v", r.Status, r.Header)
	}
	stub.status.Store(http.StatusInternalServerError)
	if r := g.do("HEAD", path, nil, nil); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a dispatcher that fails: %s", r.Status)
	}
	// On other routes, the gateway removes this header if a client sends it.
	g.do("GET", result, nil, map[string]string{uploadrequest.Header: forged})
	if got := fmt.Sprint(stub.seen.Load()); !strings.HasSuffix(got, " 0true") {
		t.Errorf("the tracker saw %s", got)
	}
}

func TestAnUploadWhoseResultIsCachedIsAnsweredBeforeItsBody(t *testing.T) {
	t.Parallel()
	stub := &cachedStub{}
	g, _ := startWithUpstream(t, nil, stub.ServeHTTP)
	body, contentType := form(part{name: "file", file: "a.wav", content: recording})
	sum, err := hex.DecodeString(digest)
	if err != nil {
		t.Fatal(err)
	}
	known := "Repr-Digest: sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":\r\n"
	begin := func(header string) *wire {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n%s\r\n", g.path(), contentType, len(body), header)
		return w
	}
	w := begin(known)
	r := w.answer()
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/tokens/analysis-result/"+cachedJob || r.Header.Get("Cache-Status") != "sori; hit" || !r.Close {
		t.Errorf("%s: %v", r.Status, r.Header)
	}
	g.assertNothingStored()
	asked := stub.asked.Load()
	for name, c := range map[string]struct {
		header string
		want   int
	}{
		"a new analysis":   {known + "Cache-Control: no-cache\r\n", http.StatusAccepted},
		"an idempotent":    {known + "Idempotency-Key: a\r\n", http.StatusAccepted},
		"a forged answer":  {"X-Sori-Early: " + cachedJob + "\r\n", http.StatusAccepted},
		"another digest":   {"Repr-Digest: sha-512=:AAAA:\r\n", http.StatusAccepted},
		"a broken digest":  {"Repr-Digest: sha-256=AAAA\r\n", http.StatusUnprocessableEntity},
		"no digest at all": {"", http.StatusAccepted},
	} {
		w := begin(c.header)
		if line, err := w.r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("%s: %q, %v", name, line, err)
		}
		_, _ = w.r.ReadString('\n')
		w.send("%s", body)
		if r := w.answer(); r.StatusCode != c.want {
			t.Errorf("%s: %s: %s", name, r.Status, r.text)
		}
		if c.want == http.StatusAccepted { // after other answers, the gateway may close the connection
			w.alive()
		}
	}
	if stub.asked.Load() != asked {
		t.Error("the dispatcher was asked")
	}
	for _, status := range []int{http.StatusNotFound, http.StatusInternalServerError} {
		stub.status.Store(int64(status))
		w := begin(known)
		if line, err := w.r.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("%d: %q, %v", status, line, err)
		}
	}
	// Without Expect, the client sends the body at once, and the gateway uses it.
	stub.status.Store(0)
	plain := g.upload(map[string]string{"Repr-Digest": strings.TrimSpace(strings.TrimPrefix(known, "Repr-Digest: "))}, part{name: "file", file: "a.wav", content: recording})
	g.checkAccepted(plain, false)
}
