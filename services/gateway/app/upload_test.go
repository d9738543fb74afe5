package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAnAcceptedUploadHasTheBytesThatWereSent(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for name, size := range map[string]int{
		"small": 100, "head": 16 << 10, "one chunk": 256 << 10, "a chunk and one": 256<<10 + 1, "5 MiB": 5 << 20,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := g.inSubtest(t)
			content := wav(size)
			r := g.upload(nil, part{name: "file", file: "a.wav", content: content})
			if r.StatusCode != http.StatusAccepted {
				t.Fatalf("%s: %s", r.Status, r.text)
			}
			m := r.json(t)
			job, _ := m["job_id"].(string)
			want := fmt.Sprintf(`{"message":"업로드 완료, 백그라운드에서 처리됩니다.","job_id":%q,"status":"processing","token_info":`+
				`{"id":%d,"s3_textgrid_url":"s3://refs/1.TextGrid","s3_pitch_url":"s3://refs/1.json"}}`, job, g.token)
			if string(r.text) != want || r.Header.Get("Location") != "/tokens/analysis-result/"+job {
				t.Errorf("answered %s, %s", r.text, r.Header.Get("Location"))
			}
			got := g.received(job)
			sum := sha256.Sum256(content)
			if got.TokenID != g.token || got.TextGridURL != "s3://refs/1.TextGrid" || got.PitchURL != "s3://refs/1.json" ||
				got.MediaType != "audio/wav" || got.Size != int64(len(content)) || got.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("received is %+v", got)
			}
			if !bytes.Equal(g.staged(got), content) {
				t.Error("staged is something else")
			}
		})
	}
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for disposition, want := range map[string]string{
		`form-data; name="file"; filename="안녕하세요 녹음.wav"`:                               "안녕하세요 녹음.wav",
		`form-data; name="file"; filename*=UTF-8''%EC%95%88%EB%85%95.wav`:               "안녕.wav",
		`form-data; name="file"; filename="x.wav"; filename*=utf-8''%EB%85%B9%EC%9D%8C`: "녹음",
		`form-data; name="file"; filename="../../etc/pass` + "\u202e" + `wd"`:           "passwd",
		`form-data; name="file"; filename="C:\\temp\\a.wav"`:                            "a.wav",
		`form-data; name="file"; filename="` + strings.Repeat("가", 300) + `"`:           strings.Repeat("가", 255),
		`form-data; name="file"; filename="` + "\xb0\xa1" + `.wav"`:                     "가.wav",
		`form-data; name="file"; filename="say "hi".wav"`:                               `say "hi".wav`,
		`form-data; filename="a;b=c.wav"; name=file`:                                    "a;b=c.wav",
		"form-data; name=\"file\"; filename=\"\u1112\u1161\u11ab.wav\"":                 "한.wav",
		"form-data;\r\n name=\"file\";\r\n\tfilename=\"folded\r\n header.wav\"":         "folded header.wav",
		`form-data; name=file`: "",
	} {
		r := g.upload(nil, part{header: disposition, content: wav(64)})
		if r.StatusCode != http.StatusAccepted {
			t.Errorf("%q: %s: %s", disposition, r.Status, r.text)
			continue
		}
		if got := g.received(r.json(t)["job_id"].(string)).FileName; got != want {
			t.Errorf("%q became %q", disposition, got)
		}
	}
}

func TestTheClientChoosesTheLanguage(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for accept, want := range map[string]string{
		"":               "업로드 완료, 백그라운드에서 처리됩니다.",
		"fr":             "업로드 완료, 백그라운드에서 처리됩니다.",
		"en-GB,ko;q=0.5": "Upload complete, processing in the background.",
	} {
		r := g.upload(map[string]string{"Accept-Language": accept}, part{name: "file", file: "a.wav", content: wav(64)})
		if got := r.json(t)["message"]; got != want || !strings.Contains(r.Header.Get("Vary"), "Accept-Language") {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

func TestATokenWithoutReferencesHasNulls(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	bare := g.create(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`)
	g.token = int64(bare["id"].(float64))
	r := g.upload(nil, part{name: "note", content: []byte("x")}, part{name: "file", file: "a.wav", content: wav(64)}, part{name: "tail", content: []byte("y")})
	info, _ := r.json(t)["token_info"].(map[string]any)
	if url, ok := info["s3_pitch_url"]; r.StatusCode != http.StatusAccepted || !ok || url != nil {
		t.Errorf("%s: %s", r.Status, r.text)
	}
}

func TestBadUploadsAreRefusedAndLeaveNothing(t *testing.T) { //nolint:tparallel // after all subtests, the last check is that nothing is stored
	t.Parallel()
	g := start(t, map[string]string{"MAX_UPLOAD_BYTES": "300000"})
	good, contentType := form(part{name: "file", file: "a.wav", content: wav(1000)})
	multi := func(parts ...part) func() (string, io.Reader) {
		return func() (string, io.Reader) {
			body, contentType := form(parts...)
			return contentType, bytes.NewReader(body)
		}
	}
	raw := func(contentType string, body []byte) func() (string, io.Reader) {
		return func() (string, io.Reader) { return contentType, bytes.NewReader(body) }
	}
	chunked := func(f func() (string, io.Reader)) func() (string, io.Reader) {
		return func() (string, io.Reader) {
			contentType, body := f()
			return contentType, struct{ io.Reader }{body}
		}
	}
	file := part{name: "file", file: "a.wav", content: wav(1000)}
	for _, c := range []struct { //nolint:paralleltest // as above
		name, path string
		request    func() (string, io.Reader)
		status     int
		code       string
	}{
		{"unknown token", "/tokens/999999/upload-audio", multi(file), 404, "token-not-found"},
		{"largest token", "/tokens/9223372036854775807/upload-audio/", multi(file), 404, "token-not-found"},
		{"token zero", "/tokens/0/upload-audio", multi(file), 422, "validation-failed"},
		{"negative token", "/tokens/-1/upload-audio", multi(file), 422, "validation-failed"},
		{"token no number", "/tokens/abc/upload-audio", multi(file), 422, "validation-failed"},
		{"token overflows", "/tokens/9223372036854775808/upload-audio", multi(file), 422, "validation-failed"},
		{"no file part", "", multi(part{name: "data", file: "a.wav", content: wav(64)}), 422, "file-missing"},
		{"no file part, but a large file", "", multi(part{name: "data", file: "a.wav", content: wav(300 << 10)}), 422, "file-missing"},
		{"no part", "", multi(), 422, "file-missing"},
		{"two files", "", multi(file, file), 422, "file-ambiguous"},
		{"empty file", "", multi(part{name: "file", file: "a.wav"}), 422, "empty-file"},
		{"text", "", multi(part{name: "file", file: "a.wav", content: []byte("hello, this is no sound")}), 415, "unsupported-audio"},
		{"unknown coding", "", multi(part{name: "file", file: "a.wav", content: coded(64)}), 415, "unsupported-codec"},
		{"unknown coding told at the end", "", multi(part{name: "file", file: "a.m4a", content: ac4(290000)}), 415, "unsupported-codec"},
		{"not multipart", "", raw("audio/wav", wav(100)), 415, "not-multipart"},
		{"no content type", "", raw("", wav(100)), 415, "not-multipart"},
		{"other multipart", "", raw(strings.Replace(contentType, "form-data", "mixed", 1), good), 415, "not-multipart"},
		{"no boundary", "", raw("multipart/form-data", good), 400, "malformed-multipart"},
		{"other boundary", "", raw("multipart/form-data; boundary=x", good), 400, "malformed-multipart"},
		{"no closing boundary", "", raw(contentType, good[:len(good)-8]), 400, "malformed-multipart"},
		{"no body", "", raw(contentType, nil), 400, "malformed-multipart"},
		{"too large by count", "", multi(part{name: "file", file: "a.wav", content: wav(300001)}), 413, "too-large"},
		{"too large chunked", "", chunked(multi(part{name: "file", file: "a.wav", content: wav(400000)})), 413, "too-large"},
		{"too large declared", "", multi(part{name: "file", file: "a.wav", content: wav(1 << 20)}), 413, "too-large"},
		{"far too large declared", "", multi(part{name: "file", file: "a.wav", content: wav(20 << 20)}), 413, "too-large"},
		{"too much beside", "", chunked(multi(part{name: "x", content: make([]byte, 200<<10)}, file)), 400, "malformed-multipart"},
		{"too much behind", "", chunked(multi(file, part{name: "x", content: make([]byte, 200<<10)})), 400, "malformed-multipart"},
		{"long part header", "", chunked(multi(part{header: `form-data; name="` + strings.Repeat("x", 200<<10) + `"`})), 400, "malformed-multipart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := g.inSubtest(t)
			contentType, body := c.request()
			path := c.path
			if path == "" {
				path = g.path()
			}
			m := g.problem(g.do("POST", path, body, map[string]string{"Content-Type": contentType}), c.status, c.code)
			if c.code == "validation-failed" && fmt.Sprint(m["errors"]) != "[map[detail:must be a positive integer pointer:token_id]]" {
				t.Errorf("errors are %v", m["errors"])
			}
			if codec, _ := m["codec"].(string); c.code == "unsupported-codec" && (codec == "" || !strings.Contains(m["detail"].(string), codec)) {
				t.Errorf("codec is %v, detail %v", m["codec"], m["detail"])
			}
			if c.code == "too-large" && m["max_bytes"] != 300000.0 {
				t.Errorf("max_bytes is %v", m["max_bytes"])
			}
		})
	}
	g.assertNothingStored()
	if r := g.upload(nil, part{name: "file", file: "a.wav", content: wav(300000)}); r.StatusCode != http.StatusAccepted {
		t.Errorf("the largest allowed: %s", r.Status)
	}
}

func TestAnUploadIsComparedWithItsDigest(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	content := wav(300 << 10)
	body, contentType := form(part{name: "file", file: "a.wav", content: content})
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	send := func(name, value string) reply {
		return g.do("POST", g.path(), bytes.NewReader(body), map[string]string{"Content-Type": contentType, name: value})
	}
	headers := []string{"Content-Digest", "Repr-Digest"}
	for _, name := range headers {
		g.problem(send(name, digest([]byte("x"))), 422, "digest-mismatch")
		for _, bad := range []string{"sha-256", "sha-256=abc", "sha-256=:!!:", "sha-256=:YQ==:", "sha-256=\"x\""} {
			g.problem(send(name, bad), 422, "malformed-digest")
		}
	}
	g.assertNothingStored()
	for _, name := range headers {
		for _, ok := range []string{digest(body), digest(content), "sha-512=:YQ==:, " + digest(body), "sha-512=:YQ==:", "SHA-256" + digest(body)[7:]} {
			if r := send(name, ok); r.StatusCode != http.StatusAccepted {
				t.Errorf("%s: %s: %s: %s", name, ok, r.Status, r.text)
			}
		}
	}
}

func TestAFullBusRefusesUploadsAndKeepsNothing(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"STAGING_MAX_BYTES": "1000000"})
	if !strings.Contains(g.kit.Logged(), "lower MAX_UPLOAD_BYTES") {
		t.Error("the log does not say that large uploads are never accepted")
	}
	g.problem(g.upload(nil, part{name: "file", file: "a.wav", content: wav(5 << 20)}), 503, "bus-full")
	g.assertNothingStored()
	if r := g.upload(nil, part{name: "file", file: "a.wav", content: wav(1000)}); r.StatusCode != http.StatusAccepted {
		t.Errorf("a small one: %s: %s", r.Status, r.text)
	}
}

func TestAFullLogRefusesUploadsAndKeepsNothing(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"JOBS_MAX_BYTES": "100"})
	g.problem(g.upload(nil, part{name: "file", file: "a.wav", content: wav(1000)}), 503, "bus-full")
	g.assertNothingStored()
}

// coded returns a WAV file with an unknown codec.
func coded(n int) []byte {
	b := wav(n)
	b[20], b[21] = 0x34, 0x12
	return b
}

// ac4 returns an MP4 file with n bytes of sound. The box that names the codec, AC-4, follows the
// sound.
func ac4(n int) []byte {
	box := func(kind string, body ...string) string {
		b := strings.Join(body, "")
		return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(b)))) + kind + b
	}
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	entry := box("ac-4", zeros(16), "\x00\x02\x00\x10", zeros(4), "\xbb\x80\x00\x00")
	return []byte(box("ftyp", "M4A ", zeros(4), "isom") + box("mdat", zeros(n)) + box("moov", box("trak", box("mdia",
		box("hdlr", zeros(8), "soun"), box("minf", box("stbl", box("stsd", zeros(7), "\x01", entry)))))))
}
