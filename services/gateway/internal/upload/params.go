package upload

import (
	"slices"
	"strings"
)

// param is a parameter of a header field: its name in lower case, and its value
// as the bytes that were sent.
type param struct{ name, value string }

// params are a header's parameters in the order in which they were sent.
type params []param

// first returns the first parameter of a name.
func (p params) first(name string) (string, bool) {
	i := slices.IndexFunc(p, func(one param) bool { return one.name == name })
	if i < 0 {
		return "", false
	}
	return p[i].value, true
}

// reading is one way to read parameters. Clients disagree about quoting, so a
// header is read by the grammar first (the zero value) and then more leniently.
type reading struct {
	// known are the only parameters whose beginning ends a value. With them a
	// quote, a semicolon or an equals sign inside of a value stays a part of it:
	// filename="say "hi"; a=b.wav". Without them the grammar decides.
	known []string

	// literal says that a backslash escapes nothing: filename="C:\".
	literal bool
}

// readings are the ways to read a header whose parameters are known, the
// strictest first.
func readings(known ...string) []reading {
	return []reading{{}, {literal: true}, {known: known}, {known: known, literal: true}}
}

// readParams returns the parameters of s in the first reading that fits and has the
// wanted parameter; else in the first that fits.
func readParams(s, wanted string, ways []reading) params {
	var fits params
	for _, way := range ways {
		p, ok := way.params(s)
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

// params reads all parameters, and reports whether s is made of nothing else.
func (r reading) params(s string) (params, bool) {
	var all params
	for {
		s = strings.TrimLeft(s, ";"+blank)
		if s == "" {
			return all, true
		}
		name, rest, ok := strings.Cut(s, "=")
		name = strings.ToLower(strings.Trim(name, blank))
		if !ok || name == "" || strings.ContainsAny(name, `";`+blank) {
			return all, false
		}
		value, rest, ok := r.value(strings.TrimLeft(rest, blank))
		if !ok {
			return all, false
		}
		all, s = append(all, param{name, value}), rest
	}
}

// value reads a value from the beginning of s and returns what follows it.
func (r reading) value(s string) (value, rest string, ok bool) {
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

// quoted reads a value that begins with a quote. Only a quote and a backslash
// are escaped by clients: a backslash before anything else is a part of a path,
// or the second byte of a character in Shift_JIS.
func (r reading) quoted(s string) (value, rest string, ok bool) {
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
	return b.String(), "", r.known != nil // the closing quote is missing
}

// lookAhead is how many bytes behind a value may decide whether it ends there.
// A bound keeps the reading linear: a header may have 128 KiB of semicolons.
const lookAhead = 64

// ends reports whether a value may end before rest.
func (r reading) ends(rest string) bool {
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
	name, _, ok := strings.Cut(ahead, "=")
	name, _, _ = strings.Cut(strings.ToLower(strings.Trim(name, blank)), "*")
	return ok && slices.Contains(r.known, name)
}
