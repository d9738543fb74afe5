package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sori.internal/shared/uploadrequest"
)

// withUploader returns a gateway, and the requests that its uploader sees.
func withUploader(t *testing.T) (*env, *seen) {
	t.Helper()
	var s seen
	g, _ := startWithUpstream(t, nil, func(w http.ResponseWriter, r *http.Request) {
		s.add(r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, "{}")
	})
	return g, &s
}

func TestTheUploaderIsToldWhatIsUploaded(t *testing.T) {
	t.Parallel()
	g, uploader := withUploader(t)
	sum := strings.Repeat("aB", 32)
	metadata := func(token any) string {
		return fmt.Sprintf(`{"filename": "/tmp/긴 녹음.wav", "type": "x", "metadata": {"token_id": %v, "sha256": %q, "name": "other"}}`, token, sum)
	}
	form := "/s3/params?" + url.Values{"filename": {"a/긴 녹음.wav"}, "metadata[token_id]": {fmt.Sprint(g.token)}, "metadata[sha256]": {sum}}.Encode()
	want := uploadrequest.Description{
		TokenID: g.token, TextGridURL: "s3://refs/1.TextGrid", PitchURL: "s3://refs/1.json", FileName: "긴 녹음.wav", SHA256: sum,
	}
	for name, send := range map[string]func(header map[string]string) reply{
		"a number": func(h map[string]string) reply {
			return g.do("POST", "/s3/multipart", strings.NewReader(metadata(g.token)), h)
		},
		"a text": func(h map[string]string) reply {
			return g.do("POST", "/s3/multipart", strings.NewReader(metadata(fmt.Sprintf("%q", fmt.Sprint(g.token)))), h)
		},
		"a form": func(h map[string]string) reply { return g.do("GET", form, nil, h) },
	} {
		for cacheControl, fresh := range map[string]bool{"": false, "no-cache": true} {
			want.Fresh = fresh
			r := send(map[string]string{"Cache-Control": cacheControl, uploadrequest.Header: "forged"})
			if got, err := uploadrequest.FromHeader(uploader.last()); r.StatusCode != http.StatusOK || err != nil || got != want {
				t.Errorf("%s: %s, the uploader is told %+v, %v", name, r.Status, got, err)
			}
		}
	}
}

func TestAnUploadThatCannotBeginDoesNotReachTheUploader(t *testing.T) {
	t.Parallel()
	g, uploader := withUploader(t)
	body := func(metadata string) string { return `{"filename": "a.wav", "metadata": ` + metadata + `}` }
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"no JSON":           {"POST", "/s3/multipart", "x", http.StatusBadRequest, "malformed-json"},
		"no metadata":       {"POST", "/s3/multipart", `{}`, http.StatusUnprocessableEntity, "validation-failed"},
		"no token":          {"POST", "/s3/multipart", body(`{}`), http.StatusUnprocessableEntity, "validation-failed"},
		"no id":             {"POST", "/s3/multipart", body(`{"token_id": "x"}`), http.StatusUnprocessableEntity, "validation-failed"},
		"an unknown token":  {"POST", "/s3/multipart", body(`{"token_id": 999999}`), http.StatusNotFound, "token-not-found"},
		"half a digest":     {"POST", "/s3/multipart", body(fmt.Sprintf(`{"token_id": %d, "sha256": "abcd"}`, g.token)), http.StatusUnprocessableEntity, "validation-failed"},
		"a list":            {"POST", "/s3/multipart", `[]`, http.StatusUnprocessableEntity, "validation-failed"},
		"a name of 5":       {"POST", "/s3/multipart", fmt.Sprintf(`{"filename": 5, "metadata": {"token_id": %d}}`, g.token), http.StatusUnprocessableEntity, "validation-failed"},
		"a form of nothing": {"GET", "/s3/params?filename=a.wav", "", http.StatusUnprocessableEntity, "validation-failed"},
		"a large body":      {"POST", "/s3/multipart", strings.Repeat("x", 2<<20), http.StatusRequestEntityTooLarge, "too-large"},
	} {
		r := g.do(c.method, c.path, strings.NewReader(c.body), nil)
		if code := r.json(t)["code"]; r.StatusCode != c.status || code != c.code {
			t.Errorf("%s: %s %v, want %d %s", name, r.Status, code, c.status, c.code)
		}
	}
	if n := uploader.count(); n > 0 {
		t.Errorf("%d requests reach the uploader", n)
	}
}
