package app_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"

	"sori.internal/services/uploader/app"
	"sori.internal/shared/testkit"
)

// asPage sends a request to S3 as a browser does for a page of another origin. It returns the
// status, and the Access-Control-Allow-Origin header, without which the page could not read the
// answer.
func asPage(t *testing.T, method, link string, header map[string]string) (status int, allowed string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, strings.Join(resp.Header.Values("Access-Control-Allow-Origin"), ", ")
}

// ready starts an uploader and waits until it is ready, so that the CORS rules are set.
func ready(t *testing.T, k *testkit.Kit, changes map[string]string) *testkit.Instance {
	t.Helper()
	i := k.Run(app.Run, changes)
	testkit.Eventually(t, func() error {
		resp, err := http.Get(i.URL + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", resp.Status)
		}
		return nil
	})
	return i
}

func TestPagesOfListedOriginsMayUseTheBucket(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	client, bucket := k.Bucket()
	theirs := cors.Rule{ID: "theirs", AllowedOrigin: []string{"https://other.example.net"}, AllowedMethod: []string{"DELETE"}, MaxAgeSeconds: 5}
	if err := client.SetBucketCors(k.Context(), bucket, cors.NewConfig([]cors.Rule{theirs})); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(k.Context(), bucket, "audio/x", bytes.NewReader([]byte("sound")), 5, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	read, err := client.PresignedGetObject(k.Context(), bucket, "audio/x", time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	write, err := client.PresignedPutObject(k.Context(), bucket, "audio/y", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	preflight := func(origin, method string) string {
		_, allowed := asPage(t, "OPTIONS", write.String(), map[string]string{"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"})
		return allowed
	}

	i := ready(t, k, map[string]string{"CORS_ALLOWED_ORIGINS": "http://localhost:*,https://*.example.com"})
	for _, origin := range []string{"http://localhost:3000", "null", "https://a.example.com"} { // null: after the gateway's redirect
		if status, allowed := asPage(t, "GET", read.String(), map[string]string{"Origin": origin, "Range": "bytes=0-1"}); status != http.StatusPartialContent || allowed != "*" {
			t.Errorf("%s reads with %d, %q", origin, status, allowed)
		}
	}
	for origin, want := range map[string]string{
		"http://localhost:3000": "http://localhost:3000", "http://localhost": "http://localhost", "https://a.b.example.com": "https://a.b.example.com",
		"https://example.com": "", "https://a.example.com.evil.net": "", "null": "",
	} {
		if got := preflight(origin, "PUT"); got != want {
			t.Errorf("%s may write as %q", origin, got)
		}
	}
	if got := preflight("https://other.example.net", "DELETE"); got != "" { // the rule "theirs" allows no request header
		t.Errorf("a rule of others allows more: %q", got)
	}
	checkRules(t, k, client, bucket, "sori-read", "sori-write", "theirs")
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}

	i = ready(t, k, map[string]string{"CORS_ALLOWED_ORIGINS": "https://new.example.org"})
	if preflight("http://localhost:3000", "PUT") != "" || preflight("https://new.example.org", "PUT") != "https://new.example.org" {
		t.Error("a change of the setting does not reach the bucket")
	}
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := ready(t, k, nil).Stop(); err != nil {
		t.Fatal(err)
	}
	checkRules(t, k, client, bucket, "theirs")
}

func checkRules(t *testing.T, k *testkit.Kit, client *minio.Client, bucket string, want ...string) {
	t.Helper()
	config, err := client.GetBucketCors(k.Context(), bucket)
	if err != nil || config == nil {
		t.Fatalf("%v, %v", config, err)
	}
	var got []string
	for _, r := range config.CORSRules {
		got = append(got, r.ID)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the bucket has the rules %q, not %q", got, want)
	}
}

func TestAnS3ServerWithoutCORSRulesIsUsedWithoutThem(t *testing.T) {
	t.Parallel()
	for _, refusal := range []int{http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		k := testkit.New(t)
		k.Bucket()
		to, err := url.Parse(k.Settings(nil)["S3_ENDPOINT"])
		if err != nil {
			t.Fatal(err)
		}
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // keeps the host, which is part of the signature
		}}
		s3 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("cors") {
				w.WriteHeader(refusal)
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(s3.Close)
		ready(t, k, map[string]string{"S3_ENDPOINT": s3.URL, "CORS_ALLOWED_ORIGINS": "https://app.example.com"})
		if !strings.Contains(k.Logged(), "the bucket's CORS rules cannot be set") {
			t.Errorf("%d: nothing is said of it", refusal)
		}
		ready(t, k, map[string]string{"S3_ENDPOINT": s3.URL})
		if strings.Count(k.Logged(), "the bucket's CORS rules cannot be set") != 1 {
			t.Errorf("%d: it is logged although no origin is listed", refusal)
		}
	}
}
