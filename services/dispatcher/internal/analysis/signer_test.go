package analysis

import (
	"net/url"
	"strings"
	"testing"
)

const job = "01890a5d-ac96-774b-bcce-b302099a8057"

func signer(t *testing.T, base, secret string) *Signer {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return NewSigner(u, secret)
}

func query(t *testing.T, link string) url.Values {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func TestASignatureSurvivesReencodingOfItsURL(t *testing.T) {
	t.Parallel()
	s := signer(t, "https://sori.example/hook?tenant=a%20b", "secret")
	link := s.URL(job, 3)
	if link != s.URL(job, 3) {
		t.Error("two URLs for one attempt")
	}
	q := query(t, link)
	for range 3 { // frameworks decode and encode URLs that they forward
		q = query(t, "https://sori.example/hook?"+q.Encode())
	}
	if q.Get("job_id") != job || q.Get("attempt") != "3" || q.Get("tenant") != "a b" || !s.Valid(job, 3, q.Get("sig")) {
		t.Errorf("%v", q)
	}
	if sig := q.Get("sig"); url.QueryEscape(sig) != sig {
		t.Errorf("the signature %q needs escaping", sig)
	}
}

func TestASignatureIsValidForOneJobAttemptAndSecret(t *testing.T) {
	t.Parallel()
	s := signer(t, "https://sori.example/hook", "secret")
	sig := query(t, s.URL(job, 1)).Get("sig")
	if !s.Valid(job, 1, sig) || !signer(t, "http://elsewhere/", "secret").Valid(job, 1, sig) {
		t.Error("refused")
	}
	last := sig[len(sig)-1]
	for name, valid := range map[string]bool{
		"another job":      s.Valid(strings.Replace(job, "01", "02", 1), 1, sig),
		"another attempt":  s.Valid(job, 2, sig),
		"attempt 11":       s.Valid(job, 11, sig),
		"another secret":   signer(t, "https://sori.example/hook", "Secret").Valid(job, 1, sig),
		"nothing":          s.Valid(job, 1, ""),
		"padded":           s.Valid(job, 1, sig+"="),
		"with a line":      s.Valid(job, 1, sig+"\n"),
		"the last bit":     s.Valid(job, 1, sig[:len(sig)-1]+string(last^1)),
		"shifted together": s.Valid(job+"\n1", 1, sig),
	} {
		if valid {
			t.Errorf("%s is accepted", name)
		}
	}
}
