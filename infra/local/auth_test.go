package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/testkit"
)

// answer sends a request with an API key, or without one, and returns the status and the body of the answer.
func answer(t *testing.T, method, url, key, contentType string, body io.Reader) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

func TestWithAuthOnlyUsersAreAnswered(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	r := start(t, dir, "-auth -port 0")
	gateway := r.endpoints(t).Gateway
	key := func(user string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, user+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	// The key of jun is made with the command in the README.
	status, made := answer(t, http.MethodPost, gateway+"/api-keys/", key("admin"), "application/json",
		strings.NewReader(`{"name": "laptop", "owner": "jun", "scopes": ["jobs:read", "jobs:write", "catalogue:read"]}`))
	var jun struct{ Key string }
	if err := json.Unmarshal([]byte(made), &jun); err != nil || status != http.StatusCreated {
		t.Fatalf("make a key: %d %s", status, made)
	}
	send := func(key string) (int, string) {
		t.Helper()
		form := loadgen.NewRecording(100 * time.Millisecond).Form()
		return answer(t, http.MethodPost, gateway+"/tokens/1/upload-audio", key, form.ContentType, form.Body)
	}
	if status, text := send(""); status != http.StatusUnauthorized {
		t.Errorf("an upload of nobody: %d %s", status, text)
	}
	status, text := send(key("mina"))
	var accepted client.Job
	if err := json.Unmarshal([]byte(text), &accepted); err != nil || status != http.StatusAccepted {
		t.Fatalf("an upload of mina: %d %s", status, text)
	}
	testkit.Eventually(t, func() error {
		job, err := (&client.Client{Base: gateway, Credential: key("mina")}).Job(t.Context(), accepted.JobID, 0)
		if err == nil && job.Status != client.Completed {
			err = fmt.Errorf("the job is %s", job.Status)
		}
		return err
	})
	for who, c := range map[string]struct {
		key  string
		want int
	}{
		"nobody": {"", http.StatusUnauthorized}, "mina": {key("mina"), http.StatusOK},
		"jun": {jun.Key, http.StatusNotFound}, "admin": {key("admin"), http.StatusOK},
	} {
		if status, text := answer(t, http.MethodGet, gateway+"/tokens/analysis-result/"+accepted.JobID, c.key, "", nil); status != c.want {
			t.Errorf("%s reads the job: %d %s", who, status, text)
		}
	}
	checkAuthScreen(t, r, key("mina"))
	mina := key("mina")
	r.interrupt(t)

	// The next start keeps the keys and the passwords.
	again := start(t, dir, "-auth -port 0")
	if key("mina") != mina {
		t.Error("the key of mina has changed")
	}
	if status, text := answer(t, http.MethodGet, again.endpoints(t).Gateway+"/jobs/", mina, "", nil); status != http.StatusOK || !strings.Contains(text, accepted.JobID) {
		t.Errorf("after a restart: %d %s", status, text)
	}
	again.interrupt(t)
}

// checkAuthScreen checks that the screen names the users, their passwords and a command with the key of
// mina, and that the provider of the screen answers.
func checkAuthScreen(t *testing.T, r *running, key string) {
	t.Helper()
	shown, err := os.ReadFile(r.screen)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"mina", "jun", "admin"} {
		password, err := os.ReadFile(filepath.Join(r.dir, user+".password"))
		if err != nil {
			t.Fatal(err)
		}
		if line := regexp.MustCompile(`(?m)^  ` + user + ` +password (\S+)`).FindSubmatch(shown); line == nil || string(line[1]) != strings.TrimSpace(string(password)) {
			t.Errorf("the screen does not name the password of %s: %s", user, shown)
		}
	}
	if bytes.Contains(shown, []byte(key)) || !bytes.Contains(shown, []byte(`-H "Authorization: Bearer $(cat `+filepath.Join(r.dir, "mina.key")+`)"`)) {
		t.Errorf("the screen is %s", shown)
	}
	status, text := answer(t, http.MethodGet, r.endpoints(t).Gateway+"/console/config.json", "", "", nil)
	var config struct{ OIDC struct{ Issuer string } }
	if err := json.Unmarshal([]byte(text), &config); err != nil || status != http.StatusOK || !bytes.Contains(shown, []byte(config.OIDC.Issuer)) {
		t.Fatalf("the console is told %d %s", status, text)
	}
	if status, text := answer(t, http.MethodGet, config.OIDC.Issuer+"/.well-known/openid-configuration", "", "", nil); status != http.StatusOK {
		t.Errorf("the provider: %d %s", status, text)
	}
}
