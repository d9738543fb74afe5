package principal

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TicketParameter is the query parameter that contains a ticket.
const TicketParameter = "ticket"

// The issuer of a ticket differs from that of a signed principal, and a ticket has an audience, so
// that neither is accepted in place of the other.
const (
	ticketIssuer   = "sori-tracker"
	ticketAudience = "sori-ticket"
)

// How long a ticket can be used.
const (
	ticketValidity = 10 * time.Minute // time in which a request with the ticket can begin
	streamValidity = time.Hour        // a stream with the ticket can last until this time after the issue
)

// Tickets issues and verifies tickets. With a ticket a client can read one job, with the rights of
// the principal that the ticket was issued to. The client needs no header with credentials:
// EventSource and audio elements in a browser cannot send headers. Tickets is safe for concurrent
// use.
type Tickets struct {
	parser *jwt.Parser
	secret []byte
	now    func() time.Time
}

// NewTickets makes Tickets with the secret of signed principals. It gets the time by calling now.
func NewTickets(c Config, now func() time.Time) Tickets {
	return Tickets{
		secret: []byte(c.Secret.Reveal()), now: now,
		parser: newParser(ticketIssuer, now, jwt.WithAudience(ticketAudience), jwt.WithIssuedAt()),
	}
}

// ticketClaims are the JWT claims of a ticket.
type ticketClaims struct {
	claims

	Job string `json:"job_id"`
}

// Issue returns a ticket of a principal for a job, and the time when the ticket expires. The caller
// must have checked that the principal sees the job.
func (t Tickets) Issue(p Principal, job string) (ticket string, expires time.Time, err error) {
	now := t.now().UTC().Truncate(time.Second)
	expires = now.Add(ticketValidity)
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, ticketClaims{
		Job: strings.ToLower(job),
		claims: claims{
			RegisteredClaims: jwt.RegisteredClaims{
				Issuer: ticketIssuer, Audience: jwt.ClaimStrings{ticketAudience}, Subject: p.Owner,
				IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
			},
			Scope: string(p.ticketScope()), KeyID: p.KeyID,
		},
	})
	ticket, err = token.SignedString(t.secret)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a ticket: %w", err)
	}
	return ticket, expires, nil
}

// ticketScope returns the scope of a ticket of the principal. It is Admin for an admin, so that the
// ticket can read the jobs of others, and JobsRead otherwise.
func (p Principal) ticketScope() Scope {
	if p.May(Admin) {
		return Admin
	}
	return JobsRead
}

var (
	errNoTicket  = errors.New("the request has no ticket")
	errTicketJob = errors.New("the ticket is for another job")
)

// Verify returns the principal that the ticket for a job was issued to. Its Expires is an hour
// after the ticket was issued. A stream that is still open at that time is ended. Verify fails if
// the ticket is missing, expired, for another job, or not signed with the secret.
//
// The caller must use the principal for this one request, and only if the request is a GET or HEAD
// of the job's progress, its result or its audio.
func (t Tickets) Verify(ticket, job string) (Principal, error) {
	if ticket == "" {
		return Principal{}, errNoTicket
	}
	var c ticketClaims
	_, err := t.parser.ParseWithClaims(ticket, &c, func(*jwt.Token) (any, error) { return t.secret, nil })
	if err != nil {
		return Principal{}, fmt.Errorf("verify a ticket: %w", err)
	}
	if job == "" || !strings.EqualFold(c.Job, job) || c.IssuedAt == nil {
		return Principal{}, fmt.Errorf("verify a ticket: %w", errTicketJob)
	}
	p, err := c.principal()
	if err != nil {
		return Principal{}, fmt.Errorf("verify a ticket: %w", err)
	}
	p.Expires = c.IssuedAt.Add(streamValidity)
	return p, nil
}
