// Package config reads the settings of a service from its environment into a tagged struct.
//
// It reports all broken settings together, each by the name of its variable. A Secret prints as
// asterisks in logs, errors and JSON.
package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Lookup looks up one variable of the environment. It is os.LookupEnv in production, and a map in
// tests and in the local runner.
type Lookup func(name string) (value string, ok bool)

// Map makes a Lookup from a map.
func Map(vars map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// Secret is a setting that must not be displayed. Only Reveal returns its value.
type Secret string

// Reveal returns the value of the secret.
func (s Secret) Reveal() string { return string(s) }

// String returns asterisks, for package fmt.
func (s Secret) String() string { return "******" }

// GoString returns asterisks, for %#v.
func (s Secret) GoString() string { return `"******"` }

// MarshalText returns asterisks, for JSON and for loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte("******"), nil }

// UnmarshalText sets the secret from the environment.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// Checker is implemented by settings structs, and by structs in them, that have rules of their own.
// Check returns all broken rules as one joined error.
type Checker interface{ Check() error }

// Rules collects the rules that settings break. The zero value is ready for use.
type Rules struct{ broken []error }

// Check records a broken rule unless holds is true. text names the variable and its rule.
func (r *Rules) Check(holds bool, text string) {
	if !holds {
		r.broken = append(r.broken, errors.New(text))
	}
}

// Err returns every broken rule, joined, or nil if there is none.
func (r *Rules) Err() error { return errors.Join(r.broken...) }

// ParseList parses a setting that is a comma-separated list. It removes spaces around the entries,
// and skips empty entries. It returns the values of the entries that parse accepts, and the errors
// of the others, joined.
func ParseList[T any](text []byte, parse func(entry string) (T, error)) ([]T, error) {
	var (
		list   []T
		broken []error
	)
	for entry := range strings.SplitSeq(string(text), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		v, err := parse(entry)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		list = append(list, v)
	}
	return list, errors.Join(broken...)
}

// IsHTTP reports whether u is an absolute http or https URL.
func IsHTTP(u url.URL) bool { return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" }

// Load sets the fields of cfg, a pointer to a struct with env and envDefault tags, from lookup. A
// variable with an empty value counts as absent, so that compose files may pass variables that are
// not set. Load rejects a sample value (IsSample), since everybody knows it.
func Load(lookup Lookup, cfg any) error {
	params, err := env.GetFieldParams(cfg)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	vars, samples := make(map[string]string, len(params)), Rules{}
	for _, p := range params {
		if v, ok := lookup(p.Key); ok && v != "" {
			vars[p.Key] = v
			samples.Check(!IsSample(v), p.Key+" has a sample value that everybody knows: make a secret with `sorictl secrets`")
		}
	}
	if err := errors.Join(parse(vars, cfg), samples.Err(), check(reflect.ValueOf(cfg))); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	return nil
}

// parse sets the fields of cfg. Its errors name the variables: the library names the fields of the
// struct, which an operator does not know.
func parse(vars map[string]string, cfg any) error {
	err := parseFields(vars, cfg)
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return err
	}
	var broken []error
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		alone := reflect.New(reflect.TypeOf(cfg).Elem()).Interface()
		if p, malformed := errors.AsType[env.ParseError](parseFields(map[string]string{name: vars[name]}, alone)); malformed {
			broken = append(broken, fmt.Errorf("%s: %w", name, p.Err))
		}
	}
	for _, err := range all.Errors {
		if _, malformed := errors.AsType[env.ParseError](err); !malformed || len(broken) == 0 {
			broken = append(broken, err)
		}
	}
	return errors.Join(broken...)
}

func parseFields(vars map[string]string, cfg any) error {
	return env.ParseWithOptions(cfg, env.Options{
		Environment: vars, FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[url.URL](): parseURL, reflect.TypeFor[float64](): parseNumber,
		},
	})
}

// IsSample reports whether a value is a placeholder from an example, such as change-me-too.
func IsSample(value string) bool {
	value = strings.ToLower(value)
	return strings.Contains(value, "change-me") || strings.Contains(value, "changeme")
}

// check returns the broken rules of a settings struct and of the structs in it.
func check(cfg reflect.Value) (broken error) {
	if c, ok := cfg.Interface().(Checker); ok {
		broken = c.Check()
	}
	fields := cfg.Elem()
	for i := range fields.NumField() {
		if f := fields.Field(i); f.Kind() == reflect.Struct && fields.Type().Field(i).IsExported() {
			broken = errors.Join(broken, check(f.Addr()))
		}
	}
	return broken
}

// parseURL parses a URL. Its errors do not quote the URL, which may contain a password.
func parseURL(text string) (any, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it is not a valid URL")
	}
	return *u, nil
}

// parseNumber parses a number. It rejects infinities and NaN, which the rules of the settings do
// not reject.
func parseNumber(text string) (any, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsInf(n, 0) || math.IsNaN(n)) {
		err = errors.New("it is not a finite number")
	}
	return n, err
}

// Setting describes one variable. A test compares the tables in the READMEs with it.
type Setting struct {
	Name     string
	Default  string
	Required bool
}

// Describe lists the settings of cfg, a pointer to a struct, in the order of its fields.
func Describe(cfg any) ([]Setting, error) {
	if reflect.TypeOf(cfg).Kind() != reflect.Pointer {
		return nil, errors.New("describe settings: not a pointer to a struct")
	}
	params, err := env.GetFieldParams(cfg)
	if err != nil {
		return nil, fmt.Errorf("describe settings: %w", err)
	}
	settings := make([]Setting, 0, len(params))
	for _, p := range params {
		settings = append(settings, Setting{Name: p.Key, Default: p.DefaultValue, Required: p.Required || p.NotEmpty})
	}
	return settings, nil
}
