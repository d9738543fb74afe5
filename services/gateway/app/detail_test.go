package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/minio/minio-go/v7"

	"sori.internal/services/gateway/app"
	"sori.internal/shared/testkit"
)

const pitch = `{"time":[0,0.01],"pitch":[null,220.5],"name":"소리"}`

// put stores an object in the test's bucket.
func (g *env) put(client *minio.Client, bucket, key, content string) {
	g.t.Helper()
	_, err := client.PutObject(g.kit.Context(), bucket, key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
}

// addTokenWith creates a token with these references by a request, and returns its path.
func (g *env) addTokenWith(pitch, voice string) string {
	g.t.Helper()
	return g.add("/tokens", fmt.Sprintf(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1,"s3_pitch_url":%q,"s3_bgvoice_url":%q}`, pitch, voice))
}

// insertTokenWith is like addTokenWith, but writes the token to the database directly. So it can
// store references that the API refuses.
func (g *env) insertTokenWith(pitch, voice string) string {
	g.t.Helper()
	db, err := sqlx.Open("postgres", g.kit.Database())
	if err != nil {
		g.t.Fatal(err)
	}
	defer db.Close()
	var id int64
	err = db.GetContext(g.kit.Context(), &id, `
		INSERT INTO catalogue.tokens (token_name, actor_name, start_time, end_time, s3_pitch_url, s3_bgvoice_url)
		VALUES ('a', 'b', 0, 1, nullif($1, ''), nullif($2, ''))
		RETURNING id`, pitch, voice)
	if err != nil {
		g.t.Fatal(err)
	}
	return fmt.Sprintf("/tokens/%d", id)
}

func TestADetailShowsTheObjectsOfEveryFormOfReference(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	client, bucket := g.kit.Bucket()
	for _, key := range []string{"ref/1.json", "ref/소리 +%.json"} {
		g.put(client, bucket, key, pitch)
	}
	endpoint := g.kit.Settings(nil)["S3_ENDPOINT"]
	host := strings.TrimPrefix(endpoint, "http://")
	for _, ref := range []string{
		"s3://" + bucket + "/ref/1.json", "ref/1.json", "/ref/1.json", "ref/소리 +%.json", "s3://" + bucket + "/ref/소리 +%.json",
		endpoint + "/" + bucket + "/ref/1.json", "http://" + bucket + "." + host + "/ref/1.json",
		endpoint + "/" + bucket + "/ref/%EC%86%8C%EB%A6%AC%20+%25.json?X-Amz-Signature=old",
		"https://" + bucket + ".s3.us-east-1.amazonaws.com/ref/1.json", "https://s3.amazonaws.com/" + bucket + "/ref/1.json",
	} {
		var got struct {
			Pitch struct{ Name string }
			Link  string `json:"bgvoice_url"`
			URL   string `json:"s3_pitch_url"`
		}
		g.get(g.addTokenWith(ref, ref)).decode(t, &got)
		if got.Pitch.Name != "소리" || got.URL != ref {
			t.Errorf("%s: the pitch is %v of %s", ref, got.Pitch, got.URL)
		}
		resp, err := http.Get(got.Link)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(text) != pitch || !strings.Contains(got.Link, "X-Amz-Signature=") {
			t.Errorf("%s: behind %s is %s: %s, %v", ref, got.Link, resp.Status, text, err)
		}
	}
}

func TestPitchesThatOneUserDoesNotReadLeaveMemoryForOthers(t *testing.T) {
	t.Parallel()
	g := secured(t, nil, map[string]string{"REFERENCE_PREFIXES": ""})
	client, bucket := g.kit.Bucket()
	g.put(client, bucket, "large", `"`+strings.Repeat("a", 7<<20)+`"`)
	made := g.do("POST", "/tokens", strings.NewReader(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1,"s3_pitch_url":"large"}`), as(adminToken(t)))
	path, alice := made.Header.Get("Location"), token(t, "alice", nil)
	for range 8 { // alice exceeds her share of the memory for pitches: she does not read the answers
		g.dial().send("GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", path, alice)
	}
	read := func(credential string) (status int, text []byte) { // does not validate the answer against the OpenAPI document, which would take long
		req, err := http.NewRequestWithContext(g.kit.Context(), "GET", g.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+credential)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err = io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, text
	}
	testkit.Eventually(t, func() error {
		if status, text := read(alice); status != http.StatusServiceUnavailable || !strings.Contains(string(text), `"busy"`) {
			return fmt.Errorf("alice may read more: %d", status)
		}
		return nil
	})
	bob := token(t, "bob", nil)
	for range 8 { // each answer that is read to its end releases its memory for the next one
		if status, text := read(bob); status != http.StatusOK || len(text) < 7<<20 {
			t.Errorf("bob: %d, %d bytes", status, len(text))
		}
	}
}

func TestLinksNameThePublicEndpoint(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"S3_PUBLIC_ENDPOINT": "https://objects.example.org"})
	_, bucket := g.kit.Bucket()
	got, _ := g.get(g.addTokenWith("", "voice.wav")).json(t)["bgvoice_url"].(string)
	if !strings.HasPrefix(got, "https://objects.example.org/"+bucket+"/voice.wav?") || !strings.Contains(got, "X-Amz-Expires=900&") {
		t.Errorf("the link is %s", got)
	}
}

func TestAURLOfAnotherHostIsNeverRequested(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, pitch)
	}))
	defer server.Close()
	ref := server.URL + "/b/k.json?x=1"
	path := g.insertTokenWith(ref, ref)
	m := g.get(path).json(t)
	if m["pitch"] != nil || m["bgvoice_url"] != ref || m["s3_pitch_url"] != ref {
		t.Errorf("%v", m)
	}
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(1000)})
	g.problem(g.do("POST", path+"/upload-audio", bytes.NewReader(body), map[string]string{"Content-Type": contentType}), 422, "reference-not-allowed")
	g.startReplica(nil)
	testkit.Eventually(t, func() error {
		if !strings.Contains(g.kit.Logged(), "tokens have references that are not allowed") {
			return errors.New("the token is not reported at the start")
		}
		return nil
	})
	if asked.Load() != 0 || !strings.Contains(g.kit.Logged(), "pitch left out") {
		t.Errorf("it was asked for %d times", asked.Load())
	}
}

func TestAPitchThatCannotBeShownIsLeftOut(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	client, bucket := g.kit.Bucket()
	for key, content := range map[string]string{
		"empty": "", "cut": `{"a":`, "nan": `{"a":NaN}`, "latin": "\"\xe9\"", "two": "{} {}", "deep": strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
		"large": `"` + strings.Repeat("x", 8<<20) + `"`, "null": "null",
	} {
		g.put(client, bucket, key, content)
	}
	for _, ref := range []string{"empty", "cut", "nan", "latin", "two", "deep", "large", "null", "missing", "s3://no-such-bucket-here/k", "s3://x/k", "s3://A_B/k"} {
		path := g.addTokenWith(ref, "")
		m := g.get(path).json(t)
		if m["pitch"] != nil || m["s3_pitch_url"] != ref || m["bgvoice_url"] != nil {
			t.Errorf("%s: %v", ref, m)
		}
	}
	if n := strings.Count(g.kit.Logged(), "pitch left out"); n != 11 {
		t.Errorf("%d of 11 were logged", n)
	}
	g.put(client, bucket, "most", `"`+strings.Repeat("x", 8<<20-2)+`"`)
	if got, _ := g.get(g.addTokenWith("most", "")).json(t)["pitch"].(string); len(got) != 8<<20-2 {
		t.Errorf("the largest pitch came as %d bytes", len(got))
	}
	// A link is made without a request to S3, so it fails only for an invalid bucket name such as
	// x.
	if m := g.get(g.addTokenWith("", "s3://x/k")).json(t); m["bgvoice_url"] != nil || !strings.Contains(g.kit.Logged(), "background voice left out") {
		t.Errorf("an impossible bucket: %v", m["bgvoice_url"])
	}
}

func TestTheCatalogueWorksWithoutStorage(t *testing.T) {
	t.Parallel()
	kit := testkit.New(t)
	kit.MigratedDatabase()
	s3 := kit.Proxy(kit.Settings(nil)["S3_ENDPOINT"])
	s3.Cut()
	i := kit.Run(app.Run, settings(kit, map[string]string{"S3_ENDPOINT": s3.URL}))
	g := newEnv(t, kit, i)
	g.withToken()
	client, bucket := kit.Bucket()
	g.put(client, bucket, "k", pitch)
	path := g.addTokenWith("k", "k")
	away := g.get(path)
	if m := away.json(t); m["pitch"] != nil || m["bgvoice_url"] == nil {
		t.Errorf("cut off: %v", m)
	}
	held := s3.Hold(0)
	hangs := g.get(path)
	<-held
	if m := hangs.json(t); m["pitch"] != nil {
		t.Errorf("held: %v", m)
	}
	s3.Restore()
	// The entity tag of the answer without the pitch does not match the answer with the pitch.
	back := g.do("GET", path, nil, map[string]string{"If-None-Match": away.Header.Get("ETag")})
	if back.StatusCode != http.StatusOK || back.json(t)["pitch"] == nil {
		t.Errorf("back: %s: %s", back.Status, back.text)
	}
	// If-Match compares only the version, which is unchanged, so the token can be edited with the
	// entity tag of the answer without the pitch.
	r := g.do("PUT", path, strings.NewReader(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":2}`),
		map[string]string{"If-Match": away.Header.Get("ETag")})
	if r.StatusCode != http.StatusOK {
		t.Errorf("changed: %s: %s", r.Status, r.text)
	}
}

func TestTheEntityTagOfADetailCoversAllThatItShows(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	client, bucket := g.kit.Bucket()
	g.put(client, bucket, "k", pitch)
	path := g.addTokenWith("k", "")
	tag := g.get(path).Header.Get("ETag")
	changed := func(what string) {
		t.Helper()
		if r := g.do("GET", path, nil, map[string]string{"If-None-Match": tag}); r.StatusCode != http.StatusOK || r.Header.Get("ETag") == tag {
			t.Errorf("%s: %s, still %s", what, r.Status, tag)
		}
		tag = g.get(path).Header.Get("ETag")
		if r := g.do("GET", path, nil, map[string]string{"If-None-Match": tag}); r.StatusCode != http.StatusNotModified {
			t.Errorf("%s, asked again: %s", what, r.Status)
		}
	}
	g.put(client, bucket, "k", `{"time":[]}`)
	changed("another pitch")
	script := g.add("/scripts", fmt.Sprintf(`{"token_id":%s,"start_time":0,"end_time":1,"script":"a"}`, strings.TrimPrefix(path, "/tokens/")))
	changed("a new script")
	g.send("PUT", script, fmt.Sprintf(`{"token_id":%s,"start_time":0,"end_time":1,"script":"b"}`, strings.TrimPrefix(path, "/tokens/")))
	changed("another script")
	g.do("DELETE", script, nil, nil)
	changed("no script")
}
