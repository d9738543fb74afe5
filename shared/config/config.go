// Package config reads the settings of a service from its environment into a tagged struct.
//
// Every broken setting is reported, not only the first. A Secret prints as asterisks in logs,
// errors and JSON.
package config

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"

	"github.com/caarlos0/env/v11"
)

// Lookup finds one variable of the environment; os.LookupEnv in production, a
// map in tests and in the local runner.
type Lookup func(name string) (value string, ok bool)

// Map makes a Lookup from a map.
func Map(vars map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// Secret is a setting that must not be seen. Only Reveal gives its value.
type Secret string

// Reveal returns the secret itself, for the call that needs it.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret from fmt.
func (s Secret) String() string { return "******" }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return `"******"` }

// MarshalText hides the secret from JSON and from loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte("******"), nil }

// UnmarshalText takes the secret from the environment.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// Checker is a settings struct, or one within it, with rules of its own. Check
// returns every broken rule, joined.
type Checker interface{ Check() error }

// Rules collects the rules that settings break. The zero value is ready for use.
type Rules struct{ broken []error }

// Check records a rule that does not hold. text names the variable and says what it must be.
func (r *Rules) Check(holds bool, text string) {
	if !holds {
		r.broken = append(r.broken, errors.New(text))
	}
}

// Err returns every broken rule, joined; nil if all hold.
func (r *Rules) Err() error { return errors.Join(r.broken...) }

// IsHTTP reports whether u is an absolute http or https URL.
func IsHTTP(u url.URL) bool { return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" }

// Load fills cfg, a pointer to a struct with env and envDefault tags, from
// lookup. An empty variable counts as absent, so that compose files may pass on
// what is not set.
func Load(lookup Lookup, cfg any) error {
	params, err := env.GetFieldParams(cfg)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	vars := make(map[string]string, len(params))
	for _, p := range params {
		if v, ok := lookup(p.Key); ok && v != "" {
			vars[p.Key] = v
		}
	}
	err = env.ParseWithOptions(cfg, env.Options{
		Environment: vars, FuncMap: map[reflect.Type]env.ParserFunc{reflect.TypeFor[url.URL](): parseURL},
	})
	if err = errors.Join(err, check(reflect.ValueOf(cfg))); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	return nil
}

// check asks a settings struct and those within it for their broken rules.
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

// parseURL does not quote what it refuses: a URL may hold a password.
func parseURL(text string) (any, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it is not a valid URL")
	}
	return *u, nil
}

// Setting describes one variable, for the tables in the READMEs.
type Setting struct {
	Name     string
	Default  string
	Required bool
}

// Describe lists the settings of cfg, a pointer to a struct, in their order.
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
