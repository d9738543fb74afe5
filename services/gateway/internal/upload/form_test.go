package upload

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"sori.internal/shared/fault"
)

// reasonOf returns the value of the member "reason" in a failure; empty if there is none.
func reasonOf(err error) string {
	reason, _ := fault.As(err).Extra["reason"].(string)
	return reason
}

func TestTheReasonIsTheSameHoweverTheBodyArrives(t *testing.T) {
	t.Parallel()
	file := "--b\r\nContent-Disposition: form-data; name=file\r\n\r\n" + wav(600)
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct{ body, reason string }{
		"nothing":                      {"", "empty-body"},
		"a line's end":                 {"\r\n", "boundary-not-found"},
		"another boundary":             {"--a" + file[3:] + "\r\n--a--\r\n", "boundary-not-found"},
		"no line's end for long":       {long, "boundary-not-found"},
		"a long preamble, then a part": {long[:3000] + "\r\n" + long[:3000] + "\r\n" + file, "cut-short"},
		"a boundary alone":             {"--b", "cut-short"},
		"half a header":                {"--b\r\nContent-Dispos", "cut-short"},
		"a header":                     {"--b\r\nContent-Disposition: form-data; name=x\r\n", "cut-short"},
		"half a file":                  {file, "cut-short"},
		"half a closing boundary":      {file + "\r\n--b-", "cut-short"},
		"a header that is none":        {"--b\r\nno header\r\n\r\n\r\n--b--\r\n", "malformed-part"},
		"the same behind a file":       {file + "\r\n--b\r\nno header\r\n\r\n\r\n--b--", "malformed-part"},
		"much before":                  {strings.Repeat(long[:3000]+"\r\n", 60), "too-much-beside"},
	} {
		for arrival, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.body), "by bytes": iotest.OneByteReader(strings.NewReader(c.body)),
			"with its end": iotest.DataErrReader(strings.NewReader(c.body)),
		} {
			_, err := read([]byte(c.body), r, 1<<20)
			if !fault.Is(err, fault.Malformed) || reasonOf(err) != c.reason {
				t.Errorf("%s %s: %v, reason %q, not %q", name, arrival, err, reasonOf(err), c.reason)
			}
		}
	}
}

func TestARefusedFormListsTheNamesOfItsParts(t *testing.T) {
	t.Parallel()
	_, err := read(nil, bytes.NewReader(body("audio; filename=a\r\n\r\n1", "\"\"\r\n\r\n2", "\""+strings.Repeat("n", 500)+"\"\r\n\r\n3")), 1<<20)
	got, _ := fault.As(err).Extra["fields"].(names)
	if len(got) != 3 || got[0] != "audio" || got[1] != "" || got[2] != strings.Repeat("n", maxDisplayed) {
		t.Errorf("%v: %q", err, got)
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = "x\r\n\r\n1"
	}
	_, err = read(nil, bytes.NewReader(body(many...)), 1<<20)
	if got, _ := fault.As(err).Extra["fields"].(names); len(got) != maxNames {
		t.Errorf("%d names", len(got))
	}
}

// FuzzForm reads a form with arbitrary content. Every failure must have a kind and a code, and a
// truncated body must never be accepted.
func FuzzForm(f *testing.F) {
	whole := string(body("x\r\n\r\n1", "file; filename=\"say \"hi\".wav\"\r\n\r\n"+wav(100)))
	for contentType, text := range map[string]string{
		boundary: whole, "multipart/form-data; boundary====b===": strings.ReplaceAll(whole, "--b", "--===b==="),
		`multipart/form-data; boundary="b`: whole[:60], "multipart/form-data; charset=euc-kr; boundary=b": strings.Replace(whole, "say", "\xb3\xec", 1),
		"multipart/form-data": whole, "": whole, boundary + " ": strings.ReplaceAll(whole, "\r\n", "\n"),
		boundary + ";": string(body("_charset_\r\n\r\ngbk", "file\r\nContent-Transfer-Encoding: base64\r\n\r\nUklGRg==")),
	} {
		f.Add(contentType, text)
	}
	broken := errors.New("connection broken")
	f.Fuzz(func(t *testing.T, contentType, text string) {
		rec, err := openRecording(Request{ContentType: contentType, Body: io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))}, Limits{MaxBytes: 1000})
		if err == nil {
			_, err = io.ReadAll(rec)
		}
		if err == nil {
			t.Errorf("%q ended well though it broke", text)
		}
		rec, err = openRecording(Request{ContentType: contentType, Body: strings.NewReader(text)}, Limits{MaxBytes: 1000})
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		if err != nil && (fault.KindOf(err) == fault.Internal || fault.As(err).Code == "" || fault.As(err).Detail == "") {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (rec.size == 0 || !strings.Contains(text, "--")) {
			t.Errorf("%q was taken", text)
		}
	})
}
