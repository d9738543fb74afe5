package source_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/infra/analyzer/internal/source"
)

func fetcher(t *testing.T, endpoint string) *source.Fetcher {
	t.Helper()
	f, err := source.New(source.Settings{
		Timeout: 5 * time.Second, Attempts: 3, Backoff: time.Millisecond, Endpoint: endpoint, Region: "us-east-1", AccessKey: "AK", SecretKey: "SK",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// read fetches a file and returns its content.
func read(t *testing.T, f *source.Fetcher, reference string, limit int64) ([]byte, error) {
	t.Helper()
	file, err := f.File(t.Context(), reference, limit)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestFileIsFetchedAndRemoved(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("audio")) })
	file, err := fetcher(t, "").File(t.Context(), url+"/a?sig=1", 5)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(file)
	if err != nil || string(data) != "audio" || file.Size != 5 {
		t.Errorf("%q, %d, %v", data, file.Size, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file.Name()); !os.IsNotExist(err) {
		t.Errorf("the file stayed: %v", err)
	}
}

func TestSizeIsBoundedWithAndWithoutALength(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), 2000))
	})
	for _, path := range []string{"/sized", "/chunked"} {
		if _, err := fetcher(t, "").File(t.Context(), url+path, 1999); !errors.Is(err, source.ErrTooLarge) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestBusyServersAreTriedAgainAndRefusalsAreNot(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		switch {
		case r.URL.Path == "/gone":
			w.WriteHeader(http.StatusForbidden)
		case n == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n == 2: // the response ends in the middle of its body
			w.Header().Set("Content-Length", "5")
			_, _ = w.Write([]byte("oth"))
		default:
			_, _ = w.Write([]byte("audio"))
		}
	})
	data, err := read(t, fetcher(t, ""), url+"/busy", 100)
	if err != nil || string(data) != "audio" || calls.Load() != 3 {
		t.Errorf("%q after %d calls, %v", data, calls.Load(), err)
	}
	calls.Store(0)
	if _, err := read(t, fetcher(t, ""), url+"/gone", 100); !errors.Is(err, source.ErrRefused) || calls.Load() != 1 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
}

func TestS3IsSignedWithOwnCredentials(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		signed := strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AK/")
		if !signed || r.URL.Path != "/bucket/audio/한 1%.wav" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
		_, _ = w.Write([]byte("audio"))
	})
	data, err := read(t, fetcher(t, url), "s3://bucket/audio/한 1%.wav", 100)
	if err != nil || string(data) != "audio" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := read(t, fetcher(t, url), "s3://bucket/other", 100); !errors.Is(err, source.ErrRefused) {
		t.Errorf("refused object: %v", err)
	}
}

func TestOtherURLsAreRefusedAndSecretsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "file:///etc/passwd", "ftp://h/x", "http://", "s3://bucket", "s3:///key", "a b", "http://h\x7f/", "gopher://x"} {
		if err := source.Check(u); !errors.Is(err, source.ErrURL) {
			t.Errorf("%q: %v", u, err)
		}
	}
	_, err := read(t, fetcher(t, ""), "http://127.0.0.1:1/key?X-Amz-Signature=secret", 1)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestARedirectIsFollowedWithinItsHostOnly(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte("secret"))
	})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other, http.StatusFound)
		case "/near":
			http.Redirect(w, r, "/file", http.StatusTemporaryRedirect)
		case "/again":
			http.Redirect(w, r, "/again", http.StatusFound)
		default:
			_, _ = w.Write([]byte("audio"))
		}
	})
	if data, err := read(t, fetcher(t, ""), url+"/near", 100); err != nil || string(data) != "audio" {
		t.Errorf("%q, %v", data, err)
	}
	for _, path := range []string{"/away", "/again"} {
		if data, err := read(t, fetcher(t, ""), url+path, 100); !errors.Is(err, source.ErrRefused) {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestOnlyListedHostsAreFetchedFrom(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte("audio"))
	})
	host := strings.TrimPrefix(url, "http://")
	for listed, allowed := range map[string]bool{host: true, "127.0.0.1": false, "s3.example.org": false} {
		f, err := source.New(source.Settings{Timeout: 5 * time.Second, Attempts: 1, Hosts: []string{"other.example.org", listed}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		before := asked.Load()
		_, err = read(t, f, url+"/file", 100)
		if (err == nil) != allowed || (asked.Load() > before) != allowed || err != nil && !errors.Is(err, source.ErrURL) {
			t.Errorf("%s: %v", listed, err)
		}
	}
}
