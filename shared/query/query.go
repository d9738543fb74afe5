// Package query reads the parameters of a URL, collects every rule that they break, and writes the
// links between the pages of a list.
package query

import (
	"fmt"
	"math"
	"net/url"
	"strconv"

	"sori.internal/shared/fault"
)

// Params reads parameters. It records every parameter that breaks a rule; Err returns all of them,
// so that a client can correct them together.
type Params struct {
	Get func(name string) string // returns the value of a parameter, or "" if the parameter is absent

	violations []fault.Violation
}

// Refuse records that a parameter breaks a rule; detail describes the rule.
func (p *Params) Refuse(name, detail string) {
	p.violations = append(p.violations, fault.Violation{Pointer: name, Detail: detail})
}

// Integer reads an integer from least to most. If the URL has no parameter of this name, Integer
// returns the value of fallback. If the parameter is not an integer in this range, Integer records
// a violation.
func (p *Params) Integer(name string, fallback, least, most int64) int64 {
	text := p.Get(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && n >= least && n <= most {
		return n
	}
	if least == 1 && most == math.MaxInt64 {
		p.Refuse(name, "must be a positive integer")
	} else {
		p.Refuse(name, fmt.Sprintf("must be an integer from %d to %d", least, most))
	}
	return n
}

// ID reads an id. It returns 0 if there is no such parameter.
func (p *Params) ID(name string) int64 { return p.Integer(name, 0, 1, math.MaxInt64) }

// Err returns an error that names every broken rule, or nil.
func (p *Params) Err() error {
	if len(p.violations) == 0 {
		return nil
	}
	return fault.ValidationFailed(p.violations...)
}

// Link returns a link to a page of a list, as a member of the header Link (RFC 8288). The path must
// be escaped.
func Link(path string, params url.Values, rel string) string {
	return fmt.Sprintf(`<%s?%s>; rel="%s"`, path, params.Encode(), rel)
}
