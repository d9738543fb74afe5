package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/config"
	"sori.internal/shared/event"
	"sori.internal/shared/principal"
	"sori.internal/shared/uploadrequest"
)

// head sends the request by which the gateway asks whether a recording has a cached result for the
// principal p. If p is nil, the request has no principal. If references is "none", it has no header
// with references.
func (env *env) head(token, sum string, p *principal.Principal, references string) *http.Response {
	env.t.Helper()
	req, err := http.NewRequestWithContext(env.Context(), http.MethodHead, env.url+"/tokens/"+token+"/results/"+sum, http.NoBody)
	must(env.t, err)
	if p != nil {
		secret := config.Secret(env.Settings(nil)["PRINCIPAL_SECRET"])
		signed, err := principal.NewSigner(principal.Config{Secret: secret}).Sign(*p, time.Now())
		must(env.t, err)
		req.Header.Set(principal.Header, signed)
	}
	if references != "none" {
		req.Header.Set(uploadrequest.Header, references)
	}
	resp, err := http.DefaultClient.Do(req)
	must(env.t, err)
	must(env.t, resp.Body.Close())
	return resp
}

func TestAClientMayAskWhetherItsRecordingHasACachedResult(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.put("ref/7.json", "pitch")
	env.run(cached())
	job := env.analysed(result, func(_ *event.Received, s *event.Stored) { s.PitchURL = "s3://" + env.bucket + "/ref/7.json" })
	reader := func(owner string) *principal.Principal {
		return &principal.Principal{Owner: owner, Scopes: []principal.Scope{principal.JobsRead}}
	}
	header := func(pitch string) string {
		text, err := uploadrequest.Description{TokenID: 7, PitchURL: pitch}.Encode()
		must(t, err)
		return text
	}
	ours := header("s3://" + env.bucket + "/ref/7.json")
	for _, digest := range []string{sum, strings.ToUpper(sum)} {
		got := env.head("7", digest, reader("alice"), ours)
		if got.StatusCode != http.StatusOK || got.Header.Get("Location") != "/tokens/analysis-result/"+job || got.Header.Get("Cache-Status") != "sori; hit" {
			t.Errorf("%d %v", got.StatusCode, got.Header)
		}
	}
	for name, c := range map[string]struct {
		token, sum string
		reader     *principal.Principal
		references string
		want       int
	}{
		"another token":     {"8", sum, reader("alice"), ours, http.StatusNotFound},
		"another recording": {"7", strings.Replace(sum, "9", "8", 1), reader("alice"), ours, http.StatusNotFound},
		"another owner":     {"7", sum, reader("bob"), ours, http.StatusNotFound},
		"an admin":          {"7", sum, &principal.Principal{Owner: "root", Scopes: []principal.Scope{principal.Admin}}, ours, http.StatusNotFound},
		"other references":  {"7", sum, reader("alice"), header(""), http.StatusNotFound},
		"no such reference": {"7", sum, reader("alice"), header("s3://" + env.bucket + "/ref/8.json"), http.StatusNotFound},
		"not a token":       {"x", sum, reader("alice"), ours, http.StatusNotFound},
		"not a digest":      {"7", sum[1:], reader("alice"), ours, http.StatusNotFound},
		"no references":     {"7", sum, reader("alice"), "none", http.StatusBadRequest},
		"broken references": {"7", sum, reader("alice"), "{}", http.StatusBadRequest},
		"no principal":      {"7", sum, nil, ours, http.StatusUnauthorized},
		"without the scope": {"7", sum, &principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.JobsWrite}}, ours, http.StatusForbidden},
	} {
		got := env.head(c.token, c.sum, c.reader, c.references)
		if got.StatusCode != c.want || got.Header.Get("Location") != "" {
			t.Errorf("%s: %d %v", name, got.StatusCode, got.Header)
		}
	}
	env.append(event.Erased{JobID: job})
	env.Settled("dispatcher-erased")
	if got := env.head("7", sum, reader("alice"), ours); got.StatusCode != http.StatusNotFound {
		t.Errorf("erased: %d", got.StatusCode)
	}
}

func TestWithoutTheSecretOfPrincipalsNobodyMayAsk(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(cached(map[string]string{"PRINCIPAL_SECRET": ""}))
	env.analysed(result)
	if got := env.head("7", sum, &principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}, "e30"); got.StatusCode != http.StatusNotFound {
		t.Errorf("%d", got.StatusCode)
	}
}

// A 404 would say that the result is not cached, which nobody knows.
func TestWhileNATSIsUnavailableItIsUnknownWhetherAResultIsCached(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	nats := env.Proxy(env.Settings(nil)["NATS_URL"])
	env.run(cached(map[string]string{"NATS_URL": nats.URL}))
	env.analysed(result)
	references, err := uploadrequest.Description{TokenID: 7}.Encode()
	must(t, err)
	alice := &principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.JobsRead}}
	if got := env.head("7", sum, alice, references); got.StatusCode != http.StatusOK {
		t.Fatalf("%d", got.StatusCode)
	}
	nats.Cut()
	if got := env.head("7", sum, alice, references); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", got.StatusCode)
	}
}
