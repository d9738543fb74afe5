package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"sori.internal/shared/event"
	"sori.internal/shared/principal"
	"sori.internal/shared/source"
)

// analyze sends a request for the analysis of a recording at a URL.
func (g *env) analyze(body any, header map[string]string) reply {
	g.t.Helper()
	text, ok := body.(string)
	if !ok {
		raw, err := json.Marshal(body)
		if err != nil {
			g.t.Fatal(err)
		}
		text = string(raw)
	}
	return g.do("POST", fmt.Sprintf("/tokens/%d/analyze", g.token), strings.NewReader(text), header)
}

// source decrypts the source in the event `received` of a job.
func (g *env) source(r event.Received) source.Source {
	g.t.Helper()
	var cfg principal.Config
	g.kit.Load(&cfg)
	s, err := source.NewSealer(cfg.Secret.Reveal())
	if err != nil {
		g.t.Fatal(err)
	}
	src, err := s.Open(r.JobID, r.Source)
	if err != nil {
		g.t.Fatal(err)
	}
	return src
}

type object = map[string]any

func TestAURLBecomesAJobWhoseSourceIsSealed(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	sum := sha256.Sum256([]byte("x"))
	const url = "https://example.com:8443/in/%EB%85%B9%EC%9D%8C%201.wav?signature=s3cret"
	for name, digest := range map[string]any{
		"none": nil, "in hexadecimal": strings.ToUpper(hex.EncodeToString(sum[:])),
		"as a header": "md5=:AAAA:, sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":",
	} {
		r := g.analyze(object{"audio_url": url, "headers": object{"authorization": "Bearer s3cret", "X-A": ""}, "digest": digest, "unknown": 1}, nil)
		job := g.checkAccepted(r, false)
		if r.json(t)["token_info"].(map[string]any)["s3_pitch_url"] != "s3://refs/1.json" || r.json(t)["status"] != "processing" {
			t.Errorf("%s: %s", name, r.text)
		}
		e := g.received(job)
		if e.TokenID != g.token || e.FileName != "녹음 1.wav" || e.PitchURL != "s3://refs/1.json" || e.Size != 0 || e.SHA256 != "" || e.MediaType != "" || e.Chunks != 0 {
			t.Errorf("%s: %+v", name, e)
		}
		src, want := g.source(e), ""
		if digest != nil {
			want = hex.EncodeToString(sum[:])
		}
		if src.URL != url || !maps.Equal(src.Header, map[string]string{"Authorization": "Bearer s3cret", "X-A": ""}) || src.SHA256 != want {
			t.Errorf("%s: %+v", name, src)
		}
	}
	for _, m := range g.kit.Messages(event.Jobs()) {
		if strings.Contains(string(m.Data), "s3cret") || strings.Contains(string(m.Data), "example.com") {
			t.Errorf("the event has the URL: %s", m.Data)
		}
	}
	if strings.Contains(g.kit.Logged(), "s3cret") {
		t.Error("the URL or a header is logged")
	}
	if entries, err := g.staging.Entries(g.kit.Context()); err != nil || len(entries) > 0 {
		t.Errorf("staged %v, %v", entries, err)
	}
}

func TestABadSourceIsRefusedByName(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"FETCH_ALLOWED": "10.1.0.0/16:9000, s3://ingest/in/"})
	const url = "https://example.com/a.wav"
	many := object{}
	for i := range 33 {
		many[fmt.Sprintf("X-%d", i)] = "a"
	}
	for name, c := range map[string]struct {
		body any
		want []string
	}{
		"no URL":          {object{}, []string{"/audio_url: is required"}},
		"null":            {object{"audio_url": nil}, []string{"/audio_url: is required"}},
		"a number":        {object{"audio_url": 7}, []string{"/audio_url: must be a string"}},
		"a list":          {"[]", []string{": must be a JSON object"}},
		"empty":           {object{"audio_url": ""}, []string{"/audio_url: must be an absolute http, https or s3 URL"}},
		"a scheme":        {object{"audio_url": "ftp://example.com/a"}, []string{"/audio_url: must be an absolute http, https or s3 URL"}},
		"a user":          {object{"audio_url": "https://u:s3cret@example.com/"}, []string{"/audio_url: must not have a user or a password; use headers"}},
		"a fragment":      {object{"audio_url": url + "#t=1"}, []string{"/audio_url: must not have a fragment"}},
		"a port":          {object{"audio_url": "http://93.184.216.34:22/"}, []string{"/audio_url: must have the port 80, 443 or 8443"}},
		"a private host":  {object{"audio_url": "http://169.254.169.254/latest"}, []string{"/audio_url: must not name an address of a private network"}},
		"too long":        {object{"audio_url": url + strings.Repeat("a", source.MaxURL)}, []string{"/audio_url: must have at most 8192 bytes"}},
		"a bucket":        {object{"audio_url": "s3://other/in/a"}, []string{"/audio_url: must name an object that may be fetched (setting FETCH_ALLOWED)"}},
		"recordings":      {object{"audio_url": "s3://" + g.kit.Settings(nil)["S3_BUCKET_NAME"] + "/audio/a"}, []string{"/audio_url: must name an object that may be fetched (setting FETCH_ALLOWED)"}},
		"dots":            {object{"audio_url": "s3://ingest/in/../a"}, []string{"/audio_url: must name a bucket and a key, and no . or .. in the key"}},
		"headers":         {object{"audio_url": url, "headers": []string{"a"}}, []string{"/headers: must be an object whose values are strings"}},
		"a header":        {object{"audio_url": url, "headers": object{"A": 1}}, []string{"/headers: must be an object whose values are strings"}},
		"a null header":   {object{"audio_url": url, "headers": object{"A": nil}}, []string{"/headers: must be an object whose values are strings"}},
		"a forbidden one": {object{"audio_url": url, "headers": object{"proxy-authorization": "s3cret"}}, []string{"/headers: must not have Proxy-Authorization, which the request sets itself"}},
		"a line break":    {object{"audio_url": url, "headers": object{"A": "b\r\nHost: s3cret"}}, []string{"/headers: must not have control characters in a value"}},
		"a bad name":      {object{"audio_url": url, "headers": object{"A\r\nHost": "s3cret"}}, []string{"/headers: has a name that no header may have"}},
		"twice":           {object{"audio_url": url, "headers": object{"a": "1", "A": "2"}}, []string{"/headers: must have each name once: upper and lower case do not differ"}},
		"too many":        {object{"audio_url": url, "headers": many}, []string{"/headers: must have at most 32 members"}},
		"too large":       {object{"audio_url": url, "headers": object{"A": strings.Repeat("a", source.MaxHeader)}}, []string{"/headers: must have at most 8192 bytes of names and values"}},
		"with s3":         {object{"audio_url": "s3://ingest/in/a", "headers": object{"A": "b"}}, []string{"/headers: must be absent: an object of S3 is copied without a request to its URL"}},
		"a digest":        {object{"audio_url": url, "digest": "abc"}, []string{"/digest: must be sha-256=:base64:, or a SHA-256 of 64 hexadecimal digits"}},
		"another one":     {object{"audio_url": url, "digest": "md5=:AAAA:"}, []string{"/digest: must be sha-256=:base64:, or a SHA-256 of 64 hexadecimal digits"}},
		"several":         {object{"headers": 1, "digest": 1}, []string{"/audio_url: is required", "/headers: must be an object whose values are strings", "/digest: must be a string"}},
	} {
		r := g.analyze(c.body, nil)
		g.invalid(r, c.want...)
		if t.Failed() || strings.Contains(string(r.text), "s3cret") {
			t.Fatalf("%s: the answer is wrong, or has a secret: %s", name, r.text)
		}
	}
	g.problem(g.analyze("{", nil), http.StatusBadRequest, "malformed-json")
	g.problem(g.analyze(`{"audio_url":"`+url+`"}`, map[string]string{"Content-Type": "text/plain"}), http.StatusUnsupportedMediaType, "not-json")
	g.problem(g.analyze(`{"audio_url":"`+url+strings.Repeat("a", 1<<20)+`"}`, nil), http.StatusRequestEntityTooLarge, "too-large")
	g.problem(g.send("POST", "/tokens/99999/analyze", `{"audio_url":"`+url+`"}`), http.StatusNotFound, "token-not-found")
	g.assertNothingStored()
	if strings.Contains(g.kit.Logged(), "s3cret") {
		t.Error("a secret is logged")
	}
	for _, url := range []string{"http://10.1.2.3:9000/a.wav", "s3://ingest/in/a.wav"} {
		g.checkAccepted(g.analyze(object{"audio_url": url}, nil), false)
	}
}

func TestTheSameKeyAndSourceAreOneJob(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	key := map[string]string{"Idempotency-Key": "k"}
	body := object{"audio_url": "https://example.com/a.wav", "headers": object{"A": "1", "B": "2"}}
	job := ""
	for i, r := range g.atOnce(8, "POST", fmt.Sprintf("/tokens/%d/analyze", g.token), `{"headers":{"B":"2","a":"1"},"audio_url":"https://example.com/a.wav"}`, key) {
		if r.StatusCode == http.StatusConflict {
			continue
		}
		got, _ := r.json(t)["job_id"].(string)
		if r.StatusCode != http.StatusAccepted || got == "" || job != "" && got != job {
			t.Errorf("%d: %s %s", i, r.Status, r.text)
		}
		job = got
	}
	if again := g.checkAccepted(g.analyze(body, key), true); again != job {
		t.Errorf("job %s, then %s", job, again)
	}
	for _, other := range []object{
		{"audio_url": "https://example.com/b.wav", "headers": body["headers"]}, {"audio_url": body["audio_url"], "headers": object{"A": "1"}},
		{"audio_url": body["audio_url"], "headers": body["headers"], "digest": strings.Repeat("0", 64)},
	} {
		g.problem(g.analyze(other, key), http.StatusUnprocessableEntity, "idempotency-key-reused")
	}
	g.problem(g.uploadWithKey("k", wav(1000)), http.StatusUnprocessableEntity, "idempotency-key-reused") // a recording
	if messages := g.kit.Messages(event.Jobs()); len(messages) != 1 {
		t.Errorf("the log holds %d events", len(messages))
	}
	upload := g.checkAccepted(g.uploadWithKey("u", wav(1000)), false)
	g.problem(g.analyze(body, map[string]string{"Idempotency-Key": "u"}), http.StatusUnprocessableEntity, "idempotency-key-reused")
	g.received(upload)
}

// A replica appended the event and died before it marked the claim as finished. A repeated request
// must get the job of this event.
func TestAKeyWhoseReplicaDiedFindsTheJobOfItsSource(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	key, body := map[string]string{"Idempotency-Key": "k"}, object{"audio_url": "https://example.com/a.wav"}
	job := g.checkAccepted(g.analyze(body, key), false)
	g.sql(`UPDATE catalogue.upload_keys SET sha256 = NULL, lease_until = now() - interval '1 second'`)
	if again := g.checkAccepted(g.analyze(body, key), true); again != job {
		t.Errorf("job %s, then %s", job, again)
	}
	g.sql(`UPDATE catalogue.upload_keys SET sha256 = NULL, lease_until = now() - interval '1 second'`)
	g.problem(g.analyze(object{"audio_url": "https://example.com/b.wav"}, key), http.StatusUnprocessableEntity, "idempotency-key-reused")
}

func TestAURLIsRefusedIfABudgetIsUsedUp(t *testing.T) {
	t.Parallel()
	g, u := limitedTo(t, map[string]string{"PRINCIPAL_STORED_BYTES": "10000"})
	alice := map[string]string{"Authorization": "Bearer " + token(t, "alice", nil)}
	body := object{"audio_url": "https://example.com/a.wav"}
	u.set(func(u *usages) { u.stored["alice"] = 10_000 })
	g.checkOverBudget(g.analyze(body, alice), "stored_bytes")
	g.assertNothingStored()
	u.set(func(u *usages) { u.stored["alice"] = 9999 })
	job := g.checkAccepted(g.analyze(body, alice), false)
	if e := g.received(job); e.Owner != "alice" {
		t.Errorf("%+v", e)
	}
	g.problem(g.analyze(body, nil), http.StatusUnauthorized, "unauthenticated")
	reader := map[string]string{"Authorization": "Bearer " + token(t, "bob", map[string]any{"scope": "jobs:read"})}
	g.problem(g.analyze(body, reader), http.StatusForbidden, "insufficient-scope")
}
