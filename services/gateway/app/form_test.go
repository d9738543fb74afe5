package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// withBoundary returns a form with one recording and a boundary.
func withBoundary(boundary string) []byte {
	return fmt.Appendf(nil, "--%[1]s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n%[2]s\r\n--%[1]s--\r\n", boundary, wav(1000))
}

func TestBoundariesAreAcceptedAsClientsSendThem(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for contentType, boundary := range map[string]string{
		"multipart/form-data; boundary====1616161616===":                "===1616161616===",
		`multipart/form-data; boundary="===1616161616==="`:              "===1616161616===",
		"multipart/form-data; boundary=a/b:c?d(e),f'g":                  "a/b:c?d(e),f'g",
		`multipart/form-data; boundary="a b"`:                           "a b",
		"multipart/form-data; boundary=a b":                             "a b",
		"Multipart/Form-Data;BOUNDARY=x;charset=utf-8":                  "x",
		"multipart/form-data; charset=utf-8; boundary=x":                "x",
		"multipart/form-data; charset=a; boundary=x; boundary=x":        "x",
		"multipart/form-data, boundary=x":                               "x",
		"multipart/form-data boundary=x":                                "x",
		`multipart/form-data; boundary="x`:                              "x",
		"multipart/form-data; boundary=" + strings.Repeat("=", 70):      strings.Repeat("=", 70),
		"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkT": "----WebKitFormBoundary7MA4YWxkT",
		"multipart/form-data; boundary=Boundary+0xAbCdEf0123456789":     "Boundary+0xAbCdEf0123456789",
	} {
		r := g.do("POST", g.path(), bytes.NewReader(withBoundary(boundary)), map[string]string{"Content-Type": contentType})
		if r.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %s: %s", contentType, r.Status, r.text)
		}
	}
}

func TestTheCauseOfARefusedFormIsGivenInBothLanguages(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	const typed = "multipart/form-data; boundary=b"
	whole := string(withBoundary("b"))
	with := func(header string) string {
		return "--b\r\n" + header + "\r\n\r\n" + string(wav(100)) + "\r\n--b--\r\n"
	}
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		code, member            string // member of the problem document: name=value
		ko, en                  string
	}{
		{"a type of its own", "application/json; charset=utf-8", "{}", 415, "not-multipart", "content_type=application/json",
			`요청의 Content-Type이 application/json입니다. "file"이라는 이름의 필드에 파일을 담아 multipart/form-data로 보내 주세요.`,
			`The request's Content-Type is application/json. Send multipart/form-data with the file in a part named "file".`},
		{"no type", "", whole, 415, "not-multipart", "",
			`요청에 Content-Type이 없습니다. "file"이라는 이름의 필드에 파일을 담아 multipart/form-data로 보내 주세요.`,
			`The request has no Content-Type. Send multipart/form-data with the file in a part named "file".`},
		{"no boundary", "multipart/form-data", whole, 400, "malformed-multipart", "reason=no-boundary",
			"Content-Type에 boundary가 없습니다. Content-Type을 직접 지정하지 말고 HTTP 라이브러리가 boundary와 함께 넣게 해 주세요.",
			"The Content-Type names no boundary. Do not set the Content-Type yourself: the HTTP library sets it together with its boundary."},
		{"two boundaries", typed + "; boundary=c", whole, 400, "malformed-multipart", "reason=bad-boundary",
			"Content-Type의 boundary를 쓸 수 없습니다. boundary는 하나여야 하고 1~70자여야 합니다.",
			"The boundary in the Content-Type cannot be used. There must be only one, of 1 to 70 characters."},
		{"a long boundary", typed + strings.Repeat("b", 70), whole, 400, "malformed-multipart", "reason=bad-boundary",
			"Content-Type의 boundary를 쓸 수 없습니다. boundary는 하나여야 하고 1~70자여야 합니다.",
			"The boundary in the Content-Type cannot be used. There must be only one, of 1 to 70 characters."},
		{"no body", typed, "", 400, "malformed-multipart", "reason=empty-body", "요청의 본문이 비어 있습니다.", "The body of the request is empty."},
		{"another boundary", "multipart/form-data; boundary=other", whole, 400, "malformed-multipart", "reason=boundary-not-found",
			`Content-Type의 boundary가 본문에 없습니다. Content-Type과 본문이 서로 맞지 않습니다.`,
			`The boundary that the Content-Type names is not in the body. The two do not belong together.`},
		{"cut in the file", typed, whole[:500], 400, "malformed-multipart", "reason=cut-short",
			"본문이 닫는 boundary 전에 끝났습니다. 업로드가 중간에 끊겼습니다.", "The body ends before its closing boundary. The upload was cut short."},
		{"cut in a header", typed, whole[:20], 400, "malformed-multipart", "reason=cut-short",
			"본문이 닫는 boundary 전에 끝났습니다. 업로드가 중간에 끊겼습니다.", "The body ends before its closing boundary. The upload was cut short."},
		{"a header that is none", typed, with("Content-Disposition: form-data; name=\"file\"; filename=\"a\r\nb.wav\""), 400, "malformed-multipart", "reason=malformed-part",
			"폼에 헤더를 읽을 수 없는 필드가 있습니다.", "The form has a part whose header cannot be read."},
		{"much beside the file", typed, with("Content-Disposition: form-data; name=\"" + strings.Repeat("x", 200<<10) + "\""), 400, "malformed-multipart", "reason=too-much-beside",
			"폼에 파일 외의 내용이 128 KiB보다 많습니다.", "The form holds more than 128 KiB beside the file."},
		{"a chunk", typed, with("Content-Disposition: form-data; name=dztotalchunkcount\r\n\r\n3\r\n--b\r\nContent-Disposition: form-data; name=file"), 400, "malformed-multipart", "reason=chunk",
			"폼에 파일의 조각 하나만 있습니다. 업로드 라이브러리의 청크 기능을 끄거나, 재개 가능한 업로드(GET /limits)를 사용해 주세요.",
			"The form has only a chunk of a file. Turn chunking off in your upload library, or use a resumable upload (GET /limits)."},
		{"no part", typed, "--b--\r\n", 422, "file-missing", "",
			`폼이 비어 있습니다. "file"이라는 이름의 필드에 파일을 담아 보내 주세요.`, `The form is empty. Send the file in a part named "file".`},
		{"another field", typed, strings.TrimSuffix(with(`Content-Disposition: form-data; name="audio"; filename="a.wav"`), "--b--\r\n") + with("Content-Disposition: form-data; name=\"\u202e녹음\""),
			422, "file-missing", "fields=[audio 녹음]",
			`폼에 "file"이라는 이름의 필드가 없습니다. 받은 필드의 이름: "audio", "녹음".`, `The form has no part named "file". Its parts are named "audio", "녹음".`},
		{"two files", typed, strings.TrimSuffix(whole, "--b--\r\n") + whole, 422, "file-ambiguous", "",
			`폼에 "file"이라는 이름의 필드가 둘 이상 있습니다. 파일은 하나씩 보내 주세요.`, `The form has more than one part named "file". Send one file at a time.`},
		{"an empty file", typed, "--b\r\nContent-Disposition: form-data; name=file\r\n\r\n\r\n--b--\r\n", 422, "empty-file", "", "파일이 비어 있습니다.", "The file is empty."},
		{"base64", typed, "--b\r\nContent-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: base64\r\n\r\nUklGRg==\r\n--b--\r\n", 415, "unsupported-encoding", "encoding=base64",
			`파일이 Content-Transfer-Encoding으로 인코딩되어 있습니다. 파일의 바이트를 그대로 보내 주세요.`, `The file is encoded as its Content-Transfer-Encoding says. Send its bytes as they are.`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := g.inSubtest(t)
			for language, want := range map[string]string{"": c.en, "ko-KR": c.ko, "en-US,ko;q=0.5": c.en} {
				r := g.do("POST", g.path(), strings.NewReader(c.body), map[string]string{"Content-Type": c.contentType, "Accept-Language": language})
				m := g.problem(r, c.status, c.code)
				if m["detail"] != want {
					t.Errorf("%q: %s, not %s", language, m["detail"], want)
				}
				if name, value, ok := strings.Cut(c.member, "="); ok && fmt.Sprint(m[name]) != value {
					t.Errorf("%s is %v, not %s", name, m[name], value)
				}
			}
		})
	}
}

// jQuery File Upload and FilePond describe chunks in headers.
func TestHeadersOfChunksAreRefused(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	for name, r := range map[string]reply{
		"Content-Range": g.upload(map[string]string{"Content-Range": "bytes 0-63/300"}, part{name: "file", file: "a.wav", content: wav(64)}),
		"Upload-Length": g.upload(map[string]string{"Upload-Length": "300"}, part{name: "file", content: []byte("{}")}),
	} {
		if m := g.problem(r, 400, "malformed-multipart"); m["reason"] != "chunk" {
			t.Errorf("%s: %v", name, m)
		}
	}
	g.assertNothingStored()
}

func TestAnEncodedUploadIsRefusedBeforeItsBodyIsRead(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(1000)})
	for _, encoding := range []string{"gzip", "br", "identity, GZIP", "gzip\r\nContent-Encoding: identity", "x-made-up"} {
		w := g.dial()
		w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\nContent-Encoding: %s\r\n\r\n-", g.path(), contentType, len(body), encoding)
		r := w.answer() // only the first byte of the body has been sent
		if m := g.problem(r, 415, "unsupported-encoding"); m["encoding"] == nil || m["detail"] != "The upload has a Content-Encoding. Send it without one." {
			t.Errorf("%s: %v", encoding, m)
		}
		if r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: %v", encoding, r.Header)
		}
	}
	g.assertNothingStored()
	for _, encoding := range []string{"identity", "Identity", ""} {
		if r := g.do("POST", g.path(), bytes.NewReader(body), map[string]string{"Content-Type": contentType, "Content-Encoding": encoding}); r.StatusCode != http.StatusAccepted {
			t.Errorf("%q: %s: %s", encoding, r.Status, r.text)
		}
	}
}

func TestAFormMayNameTheCharsetOfItsNames(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	file := part{header: "form-data; name=\"file\"; filename=\"\xcc\xda.wav\"", content: wav(64)} // 철 in EUC-KR, 腾 in GBK
	named := func(r reply) string {
		if r.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %s", r.Status, r.text)
		}
		return g.received(r.json(t)["job_id"].(string)).FileName
	}
	body, contentType := form(file)
	if got := named(g.do("POST", g.path(), bytes.NewReader(body), map[string]string{"Content-Type": contentType + "; charset=GBK"})); got != "腾.wav" {
		t.Errorf("in the type: %q", got)
	}
	if got := named(g.upload(nil, part{name: "_charset_", content: []byte("gbk")}, file)); got != "腾.wav" {
		t.Errorf("in a part: %q", got)
	}
}
