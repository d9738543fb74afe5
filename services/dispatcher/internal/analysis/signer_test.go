package analysis

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

const job = "01890a5d-ac96-774b-bcce-b302099a8057"

func signer(t *testing.T, base, secret string) *Signer {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return NewSigner(u, SignerOptions{Secrets: []string{secret}, Valid: time.Hour, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
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
	for range 3 { // an HTTP framework may decode and encode the query again
		q = query(t, "https://sori.example/hook?"+q.Encode())
	}
	if q.Get("job_id") != job || q.Get("attempt") != "3" || q.Get("tenant") != "a b" || !s.Valid(job, 3, q.Get("exp"), q.Get("sig")) {
		t.Errorf("%v", q)
	}
	if sig := q.Get("sig"); url.QueryEscape(sig) != sig {
		t.Errorf("the signature %q needs escaping", sig)
	}
}

func TestASignatureIsValidForOneJobAttemptAndSecret(t *testing.T) {
	t.Parallel()
	s := signer(t, "https://sori.example/hook", "secret")
	q := query(t, s.URL(job, 1))
	exp, sig := q.Get("exp"), q.Get("sig")
	if !s.Valid(job, 1, exp, sig) || !signer(t, "http://elsewhere/", "secret").Valid(job, 1, exp, sig) {
		t.Error("refused")
	}
	last := sig[len(sig)-1]
	for name, valid := range map[string]bool{
		"another job":      s.Valid(strings.Replace(job, "01", "02", 1), 1, exp, sig),
		"another attempt":  s.Valid(job, 2, exp, sig),
		"attempt 11":       s.Valid(job, 11, exp, sig),
		"another secret":   signer(t, "https://sori.example/hook", "Secret").Valid(job, 1, exp, sig),
		"nothing":          s.Valid(job, 1, exp, ""),
		"padded":           s.Valid(job, 1, exp, sig+"="),
		"with a line":      s.Valid(job, 1, exp, sig+"\n"),
		"the last bit":     s.Valid(job, 1, exp, sig[:len(sig)-1]+string(last^1)),
		"shifted together": s.Valid(job+"\n1", 1, exp, sig),
		"a later expiry":   s.Valid(job, 1, exp+"0", sig),
		"no expiry":        s.Valid(job, 1, "", sig),
		"shifted expiry":   s.Valid(job, 1, "\n"+exp, sig),
	} {
		if valid {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestASignatureExpires(t *testing.T) {
	t.Parallel()
	s := signer(t, "https://sori.example/hook", "secret")
	q := query(t, s.URL(job, 1))
	for after, want := range map[time.Duration]bool{0: true, time.Hour - time.Second: true, time.Hour: false, 48 * time.Hour: false} {
		later := *s
		later.now = func() time.Time { return s.now().Add(after) }
		if later.Valid(job, 1, q.Get("exp"), q.Get("sig")) != want {
			t.Errorf("after %v: not %v", after, want)
		}
	}
}

// An analysis that was requested before URLs had an expiry must still be able to call back.
func TestAURLFromBeforeURLsExpiredStaysValid(t *testing.T) {
	t.Parallel()
	s := signer(t, "https://sori.example/hook", "secret")
	const sig = "30HRfv3pXb_Cdgv2AymJl1jYaBBpXbB5pErUrnyjjLo"
	if !s.Valid(job, 1, "", sig) || s.Valid(job, 2, "", sig) {
		t.Error("not valid, or for another attempt")
	}
}

func TestTheFirstSecretSignsAndAllAreValid(t *testing.T) {
	t.Parallel()
	of := func(secrets ...string) *Signer {
		s := signer(t, "https://sori.example/hook", "")
		return NewSigner(s.base, SignerOptions{Secrets: secrets, Valid: time.Hour, Now: s.now})
	}
	old, between, changed := of("old"), of("new", "old"), of("new")
	for name, c := range map[string]struct {
		by, at *Signer
		valid  bool
	}{
		"of the old secret, while it is changed": {old, between, true}, "of the new one, before": {between, of("old", "new"), true},
		"of the new one, afterwards": {between, changed, true}, "of the old one, afterwards": {old, changed, false},
		"of the new one, at a replica without it": {between, old, false},
	} {
		q := query(t, c.by.URL(job, 1))
		if c.at.Valid(job, 1, q.Get("exp"), q.Get("sig")) != c.valid {
			t.Errorf("%s: not %v", name, c.valid)
		}
	}
}
