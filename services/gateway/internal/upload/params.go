package upload

import (
	"slices"
	"strings"
)

// param is a parameter of a header: its name in lower case, and its value as it was sent.
type param struct{ name, value string }

// params are the parameters of a header, in their order.
type params []param

// first returns the value of the first parameter with a name.
func (p params) first(name string) (string, bool) {
	i := slices.IndexFunc(p, func(one param) bool { return one.name == name })
	if i < 0 {
		return "", false
	}
	return p[i].value, true
}

// byName returns the value of the first parameter with each name. A header may have thousands of
// parameters: a search for each of them takes too long.
func (p params) byName() map[string]string {
	values := make(map[string]string, len(p))
	for _, one := range p {
		if _, twice := values[one.name]; !twice {
			values[one.name] = one.value
		}
	}
	return values
}

// parser parses parameters in one of several ways. Clients disagree about quoting, so a header is
// parsed by the grammar first (the zero value), and then more leniently.
type parser struct {
	// known lists the only parameters that can follow a value. With this list, a quote, a semicolon
	// or an equals sign within a value is part of it: filename="say "hi"; a=b.wav". Without the
	// list, the grammar decides.
	known []string

	// literal means that a backslash escapes nothing, as in filename="C:\".
	literal bool
}

// parsers returns the parsers for a header with known parameters, the strictest first.
func parsers(known ...string) []parser {
	return []parser{{}, {literal: true}, {known: known}, {known: known, literal: true}}
}

// parseParams returns the parameters of s. It uses the first parser that can parse s and finds the
// wanted parameter, otherwise the first parser that can parse s.
func parseParams(s, wanted string, parsers []parser) params {
	var fits params
	for _, parser := range parsers {
		p, ok := parser.params(s)
		if !ok {
			continue
		}
		if _, ok := p.first(wanted); ok {
			return p
		}
		if fits == nil {
			fits = p
		}
	}
	return fits
}

const blank = " \t"

// params parses all parameters. It returns false if s contains anything else.
func (r parser) params(s string) (params, bool) {
	var all params
	for {
		s = strings.TrimLeft(s, ";"+blank)
		if s == "" {
			return all, true
		}
		name, rest, ok := cutParam(s)
		if !ok {
			return all, false
		}
		value, rest, ok := r.value(strings.TrimLeft(rest, blank))
		if !ok {
			return all, false
		}
		all, s = append(all, param{name, value}), rest
	}
}

// value parses the value at the beginning of s. It returns the value and the rest of s.
func (r parser) value(s string) (value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		return r.quoted(s)
	}
	for i := range len(s) + 1 {
		if (i == len(s) || s[i] == ';') && r.ends(s[i:]) {
			value = strings.Trim(s[:i], blank)
			return value, s[i:], r.known != nil || !strings.Contains(value, `"`)
		}
	}
	return "", "", false
}

// quoted parses a value that begins with a quote. Clients escape only quotes and backslashes: a
// backslash before any other byte is part of a path, or the second byte of a Shift_JIS character.
func (r parser) quoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && !r.literal && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == '"' && r.ends(s[i+1:]):
			return b.String(), s[i+1:], true
		case s[i] == '"' && r.known == nil:
			return "", "", false
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "", r.known != nil // a missing closing quote is accepted only with a list of known parameters
}

// lookAhead is the maximal number of bytes after a value that are checked to find out whether the
// value ends there. The limit keeps parsing linear: a header may have 128 KiB of semicolons.
const lookAhead = 64

// ends reports whether a value may end where rest, the text after it, begins.
func (r parser) ends(rest string) bool {
	if r.known == nil {
		rest = strings.TrimLeft(rest, blank)
		return rest == "" || rest[0] == ';'
	}
	near := rest[:min(len(rest), lookAhead)]
	ahead := strings.TrimLeft(near, blank)
	if ahead == "" {
		return len(near) == len(rest)
	}
	if ahead[0] != ';' {
		return false
	}
	ahead = strings.TrimLeft(ahead, ";"+blank)
	if ahead == "" {
		return len(near) == len(rest)
	}
	name, _, ok := cutParam(ahead)
	name, _, _ = strings.Cut(name, "*")
	return ok && slices.Contains(r.known, name)
}

// cutParam returns the name of the parameter at the beginning of s, in lower case, and what follows the
// equals sign.
func cutParam(s string) (name, rest string, ok bool) {
	name, rest, ok = strings.Cut(s, "=")
	name = strings.ToLower(strings.Trim(name, blank))
	return name, rest, ok && name != "" && !strings.ContainsAny(name, `";`+blank)
}
