package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"sori.internal/shared/event"
)

// audioURL returns the URL of the job's recording on the first replica.
func (l *testJob) audioURL() string { return l.url + "/jobs/" + l.id + "/audio" }

// linked requests a recording and returns the URL to which the tracker redirects.
func (l *testJob) linked(method, asked string) string {
	l.t.Helper()
	a := l.request(method, asked, nil)
	if a.status != http.StatusTemporaryRedirect || a.raw != "" || a.header.Get("Cache-Control") != "no-store" {
		l.t.Fatalf("%s: %d %v %s", method, a.status, a.header, a.raw)
	}
	return a.header.Get("Location")
}

func TestARecordingIsPlayedFromTheBucket(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	s3, bucket := c.Bucket()
	sound := bytes.Repeat([]byte("RIFF소리"), 1000)
	second := c.replica(nil)
	for i, name := range []string{"녹음 1.wav", `a"b\c;d=%41, ` + strings.Repeat("é", 120), "", "plain.wav"} {
		j := c.job()
		key := "audio/" + j.id + "_x y.wav"
		if _, err := s3.PutObject(c.Context(), bucket, key, bytes.NewReader(sound), int64(len(sound)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		j.publish(event.Received{JobID: j.id, TokenID: 7, FileName: name, MediaType: "audio/mpeg"})
		j.publish(event.Stored{JobID: j.id, TokenID: 7, Bucket: bucket, Key: key, MediaType: "audio/wav", Duration: 90})
		j.awaitStatus("processing", 70)
		if i%2 == 0 { // the link must work for running and for failed jobs
			j.failed()
			j.awaitStatus("failed", 70)
		}
		link := j.linked(http.MethodGet, j.audioURL())
		if u, err := url.Parse(link); err != nil || u.Query().Get("X-Amz-Expires") != "390" { // 5 min plus the duration of 90 s
			t.Errorf("%s: %v", link, err)
		}
		resp := c.send(c.Context(), http.MethodGet, link, nil)
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		// The header has filename and filename*, which package mime does not accept together.
		// Browsers prefer filename*.
		plain, star, _ := strings.Cut(resp.Header.Get("Content-Disposition"), "; filename*=")
		how, _, headerErr := mime.ParseMediaType(plain)
		_, told, starErr := mime.ParseMediaType("x; filename*=" + star)
		headerErr = errors.Join(headerErr, starErr)
		if name == "" {
			headerErr = nil
		}
		if err != nil || !bytes.Equal(body, sound) || resp.Header.Get("Content-Type") != "audio/wav" || headerErr != nil || how != "inline" || told["filename"] != name {
			t.Errorf("%q: %d, %d bytes, %v %v %v", name, resp.StatusCode, len(body), resp.Header, err, headerErr)
		}
		part := c.get(link, map[string]string{"Range": "bytes=4-9"})
		if part.status != http.StatusPartialContent || part.raw != "소리" {
			t.Errorf("a part: %d %q", part.status, part.raw)
		}
		head := c.request(http.MethodHead, j.linked(http.MethodHead, second+"/jobs/"+strings.ToUpper(j.id)+"/audio/"), nil)
		if head.status != http.StatusOK || head.header.Get("Content-Length") != fmt.Sprint(len(sound)) || head.header.Get("Content-Type") != "audio/wav" {
			t.Errorf("HEAD: %d %v", head.status, head.header)
		}
	}
	if strings.Contains(c.Logged(), "X-Amz-Signature") {
		t.Error("a link was logged")
	}
}

func TestARecordingIsDownloadedUnderItsOwnName(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	s3, bucket := c.Bucket()
	j := c.job()
	key := "audio/" + j.id + "_x.wav"
	if _, err := s3.PutObject(c.Context(), bucket, key, strings.NewReader("RIFF"), 4, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	j.publish(event.Received{JobID: j.id, TokenID: 7, FileName: "녹음 \"1\".wav", MediaType: "audio/wav"})
	j.publish(event.Stored{JobID: j.id, TokenID: 7, Bucket: bucket, Key: key, MediaType: "audio/wav"})
	j.awaitStatus("processing", 70)
	const name = `; filename="_ _1_.wav"; filename*=UTF-8''%EB%85%B9%EC%9D%8C%20%221%22.wav`
	for query, want := range map[string]string{
		"": "inline", "?download": "inline", "?download=0": "inline", "?download=false": "inline", "?download=1": "attachment", "?download=true": "attachment",
	} {
		got := c.get(j.linked(http.MethodGet, j.audioURL()+query), nil)
		if got.status != http.StatusOK || got.raw != "RIFF" || got.header.Get("Content-Disposition") != want+name {
			t.Errorf("%s: %d %q %v", query, got.status, got.raw, got.header)
		}
	}
	if a := c.get(j.audioURL()+"?download=maybe", nil); a.status != http.StatusUnprocessableEntity || a.body.Code != "validation-failed" {
		t.Errorf("another value: %d %s", a.status, a.raw)
	}
}

// The duration that an audio file states cannot be trusted: a file of 140 bytes may state days. The
// validity of a link has an upper bound of 15 minutes.
func TestALinkIsValidForFifteenMinutesAtMost(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	for seconds, want := range map[float64]string{0: "300", 599: "899", 601: "900", 30 * 3600: "900", 1e300: "900"} {
		j := c.job()
		j.received()
		j.publish(event.Stored{JobID: j.id, TokenID: 7, Bucket: "bucket", Key: "audio/k.wav", MediaType: "audio/wav", Duration: seconds})
		j.awaitStatus("processing", 70)
		link := j.linked(http.MethodGet, j.audioURL())
		if u, err := url.Parse(link); err != nil || u.Query().Get("X-Amz-Expires") != want {
			t.Errorf("%v s: %s, want %s: %v", seconds, link, want, err)
		}
	}
}

func TestALinkNamesTheAddressThatBrowsersSee(t *testing.T) {
	t.Parallel()
	c := open(t, map[string]string{"S3_ENDPOINT": "http://127.0.0.1:1", "S3_PUBLIC_ENDPOINT": "https://objects.example.org"})
	j := c.job()
	j.received()
	j.publish(event.Stored{JobID: j.id, TokenID: 7, Bucket: "bucket", Key: "audio/k.wav", MediaType: "audio/wav", Duration: 1e300})
	j.awaitStatus("processing", 70)
	link := j.linked(http.MethodGet, j.audioURL())
	if u, err := url.Parse(link); err != nil || u.Scheme+u.Host+u.Path != "httpsobjects.example.org/bucket/audio/k.wav" || u.Query().Get("X-Amz-Expires") != "900" {
		t.Errorf("%s: %v", link, err)
	}
}

func TestAudioThatIsNotStoredIsNotFound(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	early, lost := c.job(), c.job()
	lost.received()
	lost.publish(event.Failed{JobID: lost.id, Code: "staging-lost", Detail: "gone"})
	lost.awaitStatus("failed", 10)
	lock, err := c.db().BeginTxx(c.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.ExecContext(c.Context(), `LOCK TABLE tracker.analysis_results IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	early.received() // the job is accepted, but the lock keeps it from being recorded
	for id, code := range map[string]string{
		early.id: "audio-not-stored", lost.id: "audio-not-stored", c.job().id: "job-not-found", "7": "job-not-found", "..%2f7": "job-not-found",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := c.request(method, c.url+"/jobs/"+id+"/audio", nil)
			if a.status != http.StatusNotFound || method == http.MethodGet && a.body.Code != code {
				t.Errorf("%s %s: %d %s, want %s", method, id, a.status, a.raw, code)
			}
		}
	}
}
