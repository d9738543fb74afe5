package app_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"sori.internal/shared/event"
	"sori.internal/shared/testkit"
)

// key returns a signing secret in the format of Standard Webhooks. The letter distinguishes the
// secrets of a test.
func key(letter string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

// signatureOf returns the headers of a signed callback.
func signatureOf(t *testing.T, secret string, at time.Time, body string) []string {
	t.Helper()
	signer, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	signature, err := signer.Sign("msg_1", at, []byte(body))
	must(t, err)
	return []string{
		"webhook-id", "msg_1", "webhook-timestamp", strconv.FormatInt(at.Unix(), 10),
		"webhook-signature", "v1a,unknown v1,c2lnbmVkIGJ5IGFub3RoZXIga2V5 " + signature,
	}
}

func TestTheSignatureOfTheServerIsVerifiedIfASecretIsSet(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(map[string]string{"WEBHOOK_SIGNING_SECRETS": key("a") + ", " + key("b")})
	const body = `{"analysis_results":{"a":1}}`
	now := time.Now()
	job, hook := env.dispatched()
	altered := signatureOf(t, key("a"), now, body)
	altered[1] = "msg_2"
	for name, headers := range map[string][]string{
		"no signature":          nil,
		"only an id":            {"webhook-id", "msg_1"},
		"another body":          signatureOf(t, key("a"), now, `{"analysis_results":{"a":2}}`),
		"another id":            altered,
		"another secret":        signatureOf(t, key("c"), now, body),
		"six minutes old":       signatureOf(t, key("a"), now.Add(-6*time.Minute), body),
		"six minutes too early": signatureOf(t, key("a"), now.Add(6*time.Minute), body),
	} {
		if got := env.call(hook, body, headers...); got.code != http.StatusUnauthorized || got.body["code"] != "signature-invalid" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if names := env.EventNames(env.bus, job); names[len(names)-1] != event.NameDispatched {
		t.Errorf("log %v", names)
	}
	for _, secret := range []string{key("a"), key("b")} { // the new and the old secret are both accepted
		if got := env.call(hook, body, signatureOf(t, secret, now, body)...); got.code != http.StatusOK {
			t.Errorf("signed: %+v", got)
		}
	}
	testkit.Await[event.Completed](env.Kit, env.bus, job)
	unsigned := changed(t, hook, "sig", "")
	if got := env.call(unsigned, body, signatureOf(t, key("a"), now, body)...); got.code != http.StatusUnauthorized {
		t.Errorf("without the signature of the URL: %+v", got)
	}
}

// A client with an invalid signature could hold connections open by sending the body slowly.
// Therefore the dispatcher must answer before the body arrives.
func TestARefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(map[string]string{"WEBHOOK_SIGNING_SECRETS": key("a")})
	_, hook := env.dispatched()
	old := changed(t, hook, "exp", "1000000000")
	for name, callback := range map[string]string{"unsigned URL": changed(t, hook, "sig", "x"), "expired URL": old, "unsigned callback": hook} {
		u, err := url.Parse(env.local(callback))
		must(t, err)
		conn, err := net.Dial("tcp", u.Host)
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", u.RequestURI())
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || !resp.Close {
			t.Errorf("%s: %d, closed %v", name, resp.StatusCode, resp.Close)
		}
	}
}

func TestAnAnalysisThatRunsWhileTheSecretIsChangedCallsBack(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	first := env.run(nil)
	job, hook := env.dispatched()
	must(t, first.Stop())
	env.run(map[string]string{"WEBHOOK_SECRET": "another-secret-of-32-bytes-012345", "WEBHOOK_SECRET_ROTATION": env.Settings(nil)["WEBHOOK_SECRET"]})
	if got := env.call(hook, `{"analysis_results":{}}`); got.code != http.StatusOK {
		t.Errorf("%+v", got)
	}
	testkit.Await[event.Completed](env.Kit, env.bus, job)
}

// Only the gateway and analysis servers send requests to the dispatcher, so it must not serve the
// routes of other services.
func TestTheDispatcherHasNoRouteButTheWebhookAndThoseOfEveryService(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	env.run(nil)
	for _, path := range []string{"/jobs/", "/tokens/", "/scripts/", "/api-keys", "/tokens/1/upload-audio", "/debug/pprof/", "/tokens/webhook/"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			req, err := http.NewRequest(method, env.url+path, nil)
			must(t, err)
			resp, err := http.DefaultClient.Do(req)
			must(t, err)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
	}
}
