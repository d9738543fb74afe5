package principal_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sori.internal/shared/principal"
)

const job = "01890a5d-ac96-774b-bcce-b302099a8057"

func ticketsAt(at time.Time) principal.Tickets {
	return principal.NewTickets(principal.Config{Secret: secret}, func() time.Time { return at })
}

func ticket(t *testing.T, p principal.Principal, at time.Time) string {
	t.Helper()
	issued, _, err := ticketsAt(at).Issue(p, job)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func TestATicketLetsItsHolderReadOneJobAsThePrincipal(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct{ p, want principal.Principal }{
		"a user":     {principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}, principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.JobsRead}}},
		"an API key": {principal.Principal{Owner: "alice", Scopes: principal.UserScopes(), KeyID: "k"}, principal.Principal{Owner: "alice", Scopes: []principal.Scope{principal.JobsRead}, KeyID: "k"}},
		"an admin":   {principal.Principal{Owner: "root", Scopes: principal.Scopes()}, principal.Principal{Owner: "root", Scopes: []principal.Scope{principal.Admin}}},
		"nobody":     {principal.Open(), principal.Open()},
	} {
		issued, expires, err := ticketsAt(now).Issue(c.p, job)
		if err != nil || !expires.Equal(now.Add(10*time.Minute)) {
			t.Fatalf("%s: %v, expires %v", name, err, expires)
		}
		c.want.Expires = now.Add(time.Hour)
		for _, id := range []string{job, strings.ToUpper(job)} {
			if p, err := ticketsAt(now.Add(9*time.Minute)).Verify(issued, id); err != nil || !reflect.DeepEqual(p, c.want) {
				t.Errorf("%s: %+v, %v, want %+v", name, p, err, c.want)
			}
		}
	}
}

func TestOnlyAFreshTicketOfTheJobIsVerified(t *testing.T) {
	t.Parallel()
	now := time.Now()
	alice := principal.Principal{Owner: "alice", Scopes: principal.UserScopes()}
	forged := func(key any, method jwt.SigningMethod, changes jwt.MapClaims) string {
		claims := jwt.MapClaims{
			"iss": "sori-tracker", "aud": "sori-ticket", "sub": "alice", "scope": "jobs:read", "job_id": job,
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}
		for name, value := range changes {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	mine := func(changes jwt.MapClaims) string { return forged([]byte(secret), jwt.SigningMethodHS256, changes) }
	if _, err := ticketsAt(now).Verify(mine(nil), job); err != nil {
		t.Fatalf("a good ticket: %v", err)
	}
	other := "01890a5d-ac96-774b-bcce-b302099a8058"
	for name, c := range map[string]struct{ ticket, job string }{
		"none":               {"", job},
		"no token":           {"alice", job},
		"of another job":     {ticket(t, alice, now), other},
		"of no job":          {mine(jwt.MapClaims{"job_id": ""}), ""},
		"expired":            {ticket(t, alice, now.Add(-11*time.Minute)), job},
		"of the future":      {ticket(t, alice, now.Add(5*time.Minute)), job},
		"another secret":     {forged([]byte("another-secret-of-32-bytes-012345"), jwt.SigningMethodHS256, nil), job},
		"another method":     {forged([]byte(secret), jwt.SigningMethodHS512, nil), job},
		"unsigned":           {forged(jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone, nil), job},
		"another issuer":     {mine(jwt.MapClaims{"iss": "sori-gateway"}), job},
		"another audience":   {mine(jwt.MapClaims{"aud": "elsewhere"}), job},
		"no audience":        {mine(jwt.MapClaims{"aud": nil}), job},
		"without an end":     {mine(jwt.MapClaims{"exp": nil}), job},
		"without a start":    {mine(jwt.MapClaims{"iat": nil}), job},
		"a signed principal": {signed(t, alice, now), job},
	} {
		if p, err := ticketsAt(now).Verify(c.ticket, c.job); err == nil {
			t.Errorf("%s: it is taken for %+v", name, p)
		} else if c.ticket != "" && strings.Contains(err.Error(), c.ticket) {
			t.Errorf("%s: the error tells the ticket: %v", name, err)
		}
	}
}

func FuzzTicketsAndSignedPrincipalsThatNobodySignedAreRefused(f *testing.F) {
	now := time.Now()
	for _, seed := range []string{"", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ticketsAt(now).Verify(text, job); err == nil {
			t.Errorf("a ticket of %+v", p)
		}
		if p, err := verify(text, now); err == nil {
			t.Errorf("a principal %+v", p)
		}
	})
}
